"""Chat: conversations with a language model, and answers from one's own documents, cited or refused.

conversation   messages, history, streaming             documents   read a folder, ask it
reading, formats, passages, words, index                from files to passages that can be found
asked, synonyms, evidence, gate, followup               is there an answer, and which sentence is it
voice, verify                                           the model's part, and the check on it
examination                                             a file of questions with what is expected
"""

from likely.apps.chat.conversation import Conversation
from likely.apps.chat.documents import Answer, Citation, Documents

__all__ = ["Answer", "Citation", "Conversation", "Documents"]
