// The ranking page: asks for a pair, shows it, sends the answer, and moves on when the answer is on the disk.
// How outputs are drawn stands in draw.js.
"use strict";

const $ = (id) => document.getElementById(id);
const token = decodeURIComponent(location.hash.slice(1));
const QUIET = 300; // milliseconds after a pair appears in which no answer is taken: the second click of a double click
const SIDES = ["left", "right"];
let state = null; // as the server gave it
let shown = null; // id of the pair on the page
let waiting = null; // an answer or an undo that is not acknowledged yet
let busy = false, paused = false, strength = 0;
let since = 0, spent = 0, appeared = 0; // the clock runs while the page is looked at
let seen = new Set(); // sides that were on the screen

// ------------------------------------------------------------------------------------------------ the server

async function ask(path, body) {
  const options = { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" };
  if (body) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is likely rank still running? What you said is kept here until it does.");
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => null);
    const error = new Error(told?.error?.message ?? `The server failed (${answer.status}).`);
    error.code = told?.error?.code;
    error.final = [400, 409, 413, 422].includes(answer.status); // the same again would fare no better
    throw error;
  }
  return answer;
}

async function send(path, body) {
  busy = true;
  waiting = { path, body };
  document.body.classList.add("busy");
  try {
    take(await (await ask(path, body)).json());
    waiting = null;
    trouble(null);
  } catch (error) {
    if (error.final) {
      waiting = null;
      unmark();
      trouble(error.message, true);
      if (error.code !== "unplayed") await look();
    } else {
      trouble(error.code === "storage" ? `${error.message} What you said is kept here until then.` : error.message);
    }
  } finally {
    busy = false;
    document.body.classList.remove("busy");
  }
}

async function look() {
  try {
    take(await (await ask("/api/state")).json());
    if (!waiting && !$("trouble").classList.contains("mild")) trouble(null);
  } catch (error) {
    trouble(error.message);
    if (!state) rest("Nothing to show yet", "What is missing stands above.");
  }
}

function trouble(message, mild = false) {
  $("trouble").hidden = message === null;
  $("trouble").classList.toggle("mild", mild);
  $("retry").hidden = mild;
  $("trouble").firstElementChild.textContent = message ?? "";
  if (message !== null && !mild) $("retry").focus();
}

// ------------------------------------------------------------------------------------------------ showing

function take(next) {
  state = next;
  const { done, goal } = state.count;
  $("who").textContent = state.annotator;
  $("count").textContent = goal ? `${done} of ${goal}` : "";
  $("bar").setAttribute("aria-valuemax", goal);
  $("bar").setAttribute("aria-valuenow", done);
  $("bar").firstElementChild.style.width = `${goal ? (100 * done) / goal : 0}%`;
  $("undo").disabled = !state.count.last;
  if (state.showing && !paused) {
    if (state.showing.id !== shown) show(state.showing);
  } else if (!paused) {
    shown = null;
    clear();
    finish();
  }
}

function finish() {
  const making = state.making;
  if (making.stage === "failed") {
    rest("No more pairs", making.error);
  } else if (state.count.over) {
    rest(state.count.done ? "Done. Thank you." : "Nothing to judge",
      state.count.done ? `${state.count.done} judgements are kept. You may close this page.`
        : "No two different outputs are in the store. Make some: likely rank MODEL --prompts prompts.txt");
    if (state.count.last) button("Undo the last answer", () => undo());
    if (state.owner) link("See the results", `/results#${encodeURIComponent(token)}`);
  } else {
    const what = making.stage === "loading" ? "The model is being loaded." : `${making.made} of ${making.planned} are made.`;
    rest("Making the next pair", `${what} It appears here by itself.`);
    setTimeout(() => { if (!shown && !busy && !paused) look(); }, 1000);
  }
}

function rest(title, text) {
  $("main").hidden = $("foot").hidden = true;
  $("rest").hidden = false;
  const lines = [make("h1", "", title), make("p", "", text)];
  $("rest").replaceChildren(...lines);
}

function button(text, act) {
  const made = make("button", "", text);
  made.type = "button";
  made.addEventListener("click", act);
  $("rest").append(made);
}

function link(text, href) {
  const line = make("p"), made = make("a", "", text);
  made.href = href;
  line.append(made);
  $("rest").append(line);
}

function clear() {
  release();
  seen = new Set();
  strength = 0;
  $("reason").value = "";
  unmark();
  pressed();
}

function show(showing) {
  clear();
  shown = showing.id;
  $("rest").hidden = true;
  $("main").hidden = $("foot").hidden = false;
  $("prompt").hidden = !showing.prompt;
  $("prompt").replaceChildren(...(showing.prompt ? [drawn(showing.prompt)] : []));
  SIDES.forEach((side) => {
    const body = $(side).querySelector(".body");
    body.replaceChildren(drawn(showing[side], side));
    body.parentElement.scrollTop = 0;
    watcher.unobserve($(side)); // so that it reports again
    watcher.observe($(side));
  });
  compare();
  together();
  watcher.unobserve($("both"));
  watcher.observe($("both"));
  criteria();
  window.scrollTo(0, 0);
  spent = 0;
  since = appeared = performance.now();
}

// Two rows of a table share one table where the screen is too narrow for two.
function together() {
  const pair = state?.showing?.id === shown ? state.showing : null;
  const one = narrow.matches && pair !== null && SIDES.every((side) => pair[side].kind === "row");
  $("both").replaceChildren(...(one ? [beside(pair.left, pair.right)] : []));
  $("both").hidden = !one;
  $("pair").hidden = one;
}

const narrow = matchMedia("(max-width: 700px)");
narrow.addEventListener("change", () => { if (shown) together(); });

const watcher = new IntersectionObserver((entries) => entries.forEach((one) => {
  if (one.isIntersecting) (one.target.id === "both" ? SIDES : [one.target.id]).forEach((side) => seen.add(side));
}), { threshold: 0.05 });

// ------------------------------------------------------------------------------------------------ answering

function criteria() {
  $("criteria").hidden = !state.criteria.length;
  $("criteria").replaceChildren(...state.criteria.map((name, k) => {
    const group = make("fieldset");
    group.append(make("legend", "", name), ...[...SIDES.slice(0, 1), "tie", "right"].map((choice) => {
      const label = make("label"), input = make("input");
      input.type = "radio";
      input.name = `criterion-${k}`;
      input.value = choice;
      label.append(input, choice);
      return label;
    }));
    return group;
  }));
}

function pressed() {
  document.querySelectorAll("[data-strength]").forEach((one) =>
    one.setAttribute("aria-pressed", String(Number(one.dataset.strength) === strength)));
}

function unmark() {
  document.querySelectorAll(".chosen").forEach((one) => one.classList.remove("chosen"));
}

function answer(choice) {
  if (busy || paused || !shown || waiting || performance.now() - appeared < QUIET) return;
  const played = players.length > 0 && players.every((player) => player.dataset.heard);
  if (players.length && !played && choice !== "skip") {
    trouble("Play both before you choose (space), or skip this pair (s).", true);
    return;
  }
  const flags = [...(seen.size === 2 ? ["viewed"] : []), ...(played ? ["played"] : [])];
  const said = {};
  state.criteria.forEach((name, k) => {
    const picked = $("criteria").querySelector(`input[name="criterion-${k}"]:checked`);
    if (picked) Object.defineProperty(said, name, { value: picked.value, enumerable: true }); // whatever its name
  });
  const seconds = Math.round(spent + (since ? performance.now() - since : 0)) / 1000;
  if (SIDES.includes(choice)) $(choice).classList.add("chosen");
  document.querySelector(`.choices [data-choice="${choice}"]`)?.classList.add("chosen");
  send("/api/answer", {
    id: shown, choice, seconds, flags, criteria: said, reason: $("reason").value.trim(),
    strength: SIDES.includes(choice) ? strength : 0,
  });
}

function undo() {
  if (busy || paused || waiting || !state?.count.last) return;
  shown = null;
  send("/api/undo", { id: state.count.last });
}

function play() {
  if (!players.length) return;
  const at = players.findIndex((player) => !player.paused);
  players.forEach((player) => player.pause());
  const next = players[at < 0 ? Math.max(0, players.findIndex((player) => !player.dataset.heard)) : (at + 1) % players.length];
  if (at < 0 || players.length > 1) {
    next.currentTime = 0;
    next.play().catch(() => {});
  }
}

function pause(on) {
  paused = on;
  $("pause").setAttribute("aria-pressed", String(on));
  $("pause").textContent = on ? "Go on" : "Pause";
  clock();
  players.forEach((player) => player.pause());
  if (on) {
    rest("Paused", "Every answer is kept. You may close this page, and open it again by its link.");
    button("Go on", () => pause(false));
  } else {
    if (state?.showing && shown === state.showing.id) {
      $("rest").hidden = true;
      $("main").hidden = $("foot").hidden = false;
    } else if (state) {
      take(state);
    }
    look();
  }
}

function clock() {
  const running = !paused && document.visibilityState === "visible";
  if (!running && since) {
    spent += performance.now() - since;
    since = 0;
  } else if (running && !since) {
    since = performance.now();
  }
}

const KEYS = {
  ArrowLeft: () => answer("left"), ArrowRight: () => answer("right"), t: () => answer("tie"), b: () => answer("bad"),
  s: () => answer("skip"), u: () => undo(), r: () => $("reason").focus(), p: () => pause(!paused),
  "?": () => $("help").click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inside = event.target.closest?.("input, textarea, audio, video");
  if (inside && inside.type !== "radio") {
    if (event.key === "Escape" || (event.key === "Enter" && inside.id === "reason")) inside.blur();
    if (inside.tagName === "INPUT" || inside.tagName === "TEXTAREA") return;
  }
  if (inside?.type === "radio" && event.key.startsWith("Arrow")) return; // they move between the radio buttons
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.repeat) return;
  if (key === " " && players.length && !event.target.closest?.("button")) {
    event.preventDefault();
    play();
  } else if (["1", "2", "3"].includes(key)) {
    strength = strength === Number(key) ? 0 : Number(key);
    pressed();
  } else if (Object.hasOwn(KEYS, key)) {
    event.preventDefault();
    KEYS[key]();
  }
});

document.querySelectorAll("[data-choice]").forEach((one) => one.addEventListener("click", (event) => {
  if (event.detail < 2) answer(one.dataset.choice);
  if (event.detail) one.blur(); // by mouse: the space bar is for playing again
}));
document.querySelectorAll("[data-strength]").forEach((one) => one.addEventListener("click", (event) => {
  strength = strength === Number(one.dataset.strength) ? 0 : Number(one.dataset.strength);
  pressed();
  if (event.detail) one.blur();
}));
$("criteria").addEventListener("click", (event) => { // by mouse: arrows are for the answer again, not for these
  if (event.detail) setTimeout(() => document.activeElement?.blur(), 0);
});
$("undo").addEventListener("click", () => undo());
$("pause").addEventListener("click", () => pause(!paused));
$("retry").addEventListener("click", () => (waiting ? send(waiting.path, waiting.body) : look()));
$("help").addEventListener("click", () => {
  $("keys").hidden = !$("keys").hidden;
  $("help").setAttribute("aria-expanded", String(!$("keys").hidden));
});
document.addEventListener("visibilitychange", () => {
  clock();
  if (document.visibilityState === "visible" && !busy && !waiting && !paused && state) look(); // another tab may have answered
});
window.addEventListener("beforeunload", (event) => { if (waiting) event.preventDefault(); });
window.addEventListener("hashchange", () => location.reload());

look();
