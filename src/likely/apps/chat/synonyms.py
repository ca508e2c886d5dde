"""Everyday words that mean much the same: people ask in their own words, documents answer in theirs.

A line is a group; `more` gives the other members of a word's groups. A match by group counts less than the word itself
(see `gate`). The groups are those of shops, services, houses and manuals in general; a folder may bring its own, in
a file `synonyms.txt` with a group a line: "flat apartment unit".
"""

from __future__ import annotations

from collections.abc import Iterable

from likely.apps.chat.words import content, stem

GROUPS = """
cost price fee charge pay tariff rate expensive cheap money euro pound dollar cent
fine penalty fee
buy purchase sell sale shop store order
rent hire lend let lease loan borrow
return refund reimburse back
exchange swap replace
cancel withdraw revoke
deliver delivery ship shipping send dispatch parcel package courier
mail email post letter write
phone telephone call ring mobile smartphone cellphone
open opening opens
close closed shut closing
begin start commence
end finish stop over
arrive arrival check-in reach
leave depart departure checkout
car vehicle automobile park parking
bike bicycle cycle
bus coach shuttle
train rail railway
child children kid kids son daughter boy girl toddler youngster
baby infant toddler
adult adults grown-up grown-ups
pensioner pensioners senior seniors retired elderly
dog dogs pet pets puppy animal
cat cats pet pets animal
toilet toilets lavatory restroom wc loo
bathroom bathrooms shower showers bath
wifi wlan wi-fi internet wireless network
computer pc laptop notebook
password passcode code pin
website site web homepage online internet
film films movie movies dvd video
book books novel novels paperback
newspaper newspapers magazine magazines press
picture pictures photo photos photograph photographs image
broken damaged defective faulty cracked pieces break broke smashed
repair fix mend service
guarantee warranty
lost lose missing
find found
teach teacher teaches instructor tutor trainer lesson lessons
course courses class classes workshop lesson training
learn study
staff employee employees team worker workers colleague colleagues personnel
boss manager head director owner founder
job work position vacancy
wage salary pay earn earnings
holiday vacation leave
sick ill illness
doctor physician
food eat meal meals snack snacks dish lunch dinner breakfast
drink drinks beverage beverages coffee tea water juice
vegetarian vegan meat
fire fires campfire bonfire flame
warm heat heating hot heater
cold cool chill
light lamp
power electricity electric watt watts
battery batteries cell cells
cable lead cord wire
plug socket outlet
switch turn press
button key knob
screen display
clean wash wipe
rubbish waste trash garbage bin dispose disposal
noise loud noisy quiet silence
safe safety secure
danger dangerous hazard
forbidden prohibited ban banned
rule rules regulation policy
reserve reservation book booking
deposit advance prepayment down
discount reduction reduced concession cheaper
voucher vouchers gift coupon
gift gifts present presents
member members membership subscriber subscription
card pass
join enrol enroll register sign
pause hold suspend freeze interrupt
extend renew prolong
visitor visitors guest guests customer customers client clients
room rooms space hall
lift elevator
stair stairs step steps upstairs
wheelchair accessible disabled disability
tool tools equipment gear
clothes clothing wear dress apron
towel towels linen
table desk
near nearest next close
supermarket grocery shop store
stay overnight sleep
swim swimming bathing bathe
big large size
fall falls fell tip tipped knock knocked knocks tilt
broke break failed fault error
smell smells odour burnt
old age years
late delay delayed overdue
quick fast
permit permission licence license ticket
proof identity id passport document documents papers
address location located
receipt invoice bill
""".strip()


class Synonyms:
    """Groups of words, by stem."""

    def __init__(self, lines: Iterable[str] = GROUPS.splitlines()) -> None:
        self.groups: dict[str, set[str]] = {}
        for line in lines:
            group = {stem(word) for word in line.lower().replace("-", "").split()} | set(content(line))
            for member in group:
                self.groups.setdefault(member, set()).update(group - {member})

    def more(self, member: str) -> set[str]:
        """The stems that a stem may be replaced by, without itself."""
        return self.groups.get(member, set())
