// How an output is drawn: as text, as the bytes of a picture or a sound, or in a frame without scripts. Nothing that
// somebody wrote ever becomes a part of this page's markup.
"use strict";

let players = [], urls = []; // of the pair on the page

function release() {
  players.forEach((player) => player.pause());
  urls.forEach((url) => URL.revokeObjectURL(url));
  players = [];
  urls = [];
}

function make(tag, kind = "", text) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

function drawn(view, side) {
  switch (view.kind) {
    case "text": return view.text ? make("p", view.code ? "text code" : "text", view.text) : make("p", "empty", "nothing");
    case "row": return table([], view.cells);
    case "table": return table(view.head, view.rows);
    case "chat": return all(view.turns.map(([role, text]) => {
      const turn = make("p", "turn");
      turn.append(make("b", "", role), make("span", "", text));
      return turn;
    }));
    case "image": return side ? picture(side) : make("p", "empty", "a picture");
    case "audio": case "video": return side ? sound(view.kind, side) : make("p", "empty", "a recording");
    case "html": return framed(view.html);
    default: return all([
      make("p", "empty", `${view.media}, ${view.bytes.toLocaleString("en")} bytes: shown as it is`), make("p", "text code", view.text),
    ]);
  }
}

function all(parts) {
  const made = make("div");
  made.append(...parts);
  return made;
}

function table(head, rows) {
  const outer = make("div", "wide"), made = make("table"), body = make("tbody");
  if (head.length) {
    const line = make("tr");
    line.append(...head.map((name) => make("th", "", name)));
    const top = make("thead");
    top.append(line);
    made.append(top);
  }
  body.append(...rows.map((cells) => {
    const line = make("tr");
    line.append(...cells.map((cell, k) => {
      const place = make(!head.length && !k ? "th" : "td", !head.length && !k ? "rowname" : "", cell || "–");
      if (place.tagName === "TH") place.scope = "row";
      return place;
    }));
    return line;
  }));
  made.append(body);
  outer.append(made);
  return outer;
}

// Rows of a table: cells in which the two sides differ are tinted.
function compare() {
  const [a, b] = SIDES.map((side) => [...$(side).querySelectorAll("th.rowname")]);
  const other = new Map(b.map((name) => [name.textContent, name]));
  a.forEach((name) => {
    const twin = other.get(name.textContent);
    if (twin && twin.nextSibling.textContent !== name.nextSibling.textContent)
      [name, twin].forEach((one) => one.parentElement.classList.add("differs"));
  });
}

// Two rows of a table as one: a line a name, left and right beside each other. For screens too narrow for two tables.
function beside(left, right) {
  const [a, b] = [new Map(left.cells), new Map(right.cells)];
  const made = make("table"), top = make("thead"), head = make("tr"), body = make("tbody");
  head.append(...["", "Left", "Right"].map((name) => make(name ? "th" : "td", "", name)));
  head.querySelectorAll("th").forEach((one) => { one.scope = "col"; });
  body.append(...[...new Set([...a.keys(), ...b.keys()])].map((name) => {
    const line = make("tr"), title = make("th", "rowname", name || "–");
    title.scope = "row";
    line.append(title, ...[a, b].map((side) => make("td", "", side.get(name) || "–")));
    line.classList.toggle("differs", (a.get(name) ?? "") !== (b.get(name) ?? ""));
    return line;
  }));
  top.append(head);
  made.append(top, body);
  return made;
}

async function bytes(side) {
  const id = shown;
  const answer = await ask(`/api/media/${id}/${side}`);
  const blob = await answer.blob();
  if (id !== shown) return null;
  const url = URL.createObjectURL(blob);
  urls.push(url);
  return { url, drawing: blob.type === "image/svg+xml" };
}

function picture(side) {
  const outer = make("div", "picture"), image = make("img");
  image.alt = `${side} picture`;
  image.addEventListener("load", () => {
    const small = image.naturalWidth < 200 && image.naturalHeight < 200; // pixels that were made one by one
    if (small && !image.classList.contains("drawing")) image.classList.add("small");
  });
  image.addEventListener("error", () => outer.replaceChildren(make("p", "empty", "This picture cannot be shown.")));
  bytes(side).then((found) => {
    if (!found) return;
    image.classList.toggle("drawing", found.drawing);
    image.src = found.url;
  }, (error) => trouble(error.message));
  outer.append(image);
  return outer;
}

function sound(kind, side) {
  const outer = make("div"), player = make(kind), note = make("p", "heard", "not played yet");
  player.controls = true;
  player.setAttribute("aria-label", `${side} ${kind}`);
  const heard = () => {
    const enough = Math.min(1, (player.duration || 2) / 2);
    if (player.currentTime >= enough || player.ended) {
      player.dataset.heard = "yes";
      note.textContent = "played";
      note.classList.add("yes");
    }
  };
  player.addEventListener("timeupdate", heard);
  player.addEventListener("ended", heard);
  player.addEventListener("play", () => players.filter((one) => one !== player).forEach((one) => one.pause()));
  player.addEventListener("error", () => { note.textContent = "This recording cannot be played: skip the pair (s)."; });
  bytes(side).then((found) => { if (found) player.src = found.url; }, (error) => trouble(error.message));
  players.push(player);
  outer.append(player, note);
  return outer;
}

function framed(html) {
  const frame = make("iframe");
  frame.setAttribute("sandbox", "");
  frame.title = "output";
  frame.referrerPolicy = "no-referrer";
  frame.srcdoc = `<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; `
    + `style-src 'unsafe-inline'; img-src data:; font-src data:"><meta http-equiv="x-dns-prefetch-control" content="off">`
    + `<style>body{font:16px/1.5 system-ui,sans-serif;margin:12px;color:#1f2328}table{border-collapse:collapse}`
    + `td,th{padding:4px 10px 4px 0;text-align:left;border-top:1px solid #e3e0da}</style>${html}`;
  return frame;
}
