// The results page: one document, made by the server with every text escaped, shown in a frame without scripts.
"use strict";

const $ = (id) => document.getElementById(id);
const token = decodeURIComponent(location.hash.slice(1));
let page = "";

async function look() {
  let message = "";
  try {
    const answer = await fetch("/api/results", { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" });
    if (answer.ok) {
      page = await answer.text();
      $("results").srcdoc = page;
    } else {
      message = (await answer.json()).error.message;
    }
  } catch {
    message = "The server does not answer. Is likely rank still running?";
  }
  $("trouble").hidden = !message;
  $("trouble").firstElementChild.textContent = message;
}

$("again").addEventListener("click", look);
$("keep").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([page], { type: "text/html" }));
  link.download = "results.html";
  link.click();
});
window.addEventListener("hashchange", () => location.reload());

look();
