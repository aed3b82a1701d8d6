// What htmx does not do: answers that are written as they come, and small comforts. The pages work without it, too.
"use strict";

document.documentElement.classList.add("js");

// The events of a stream of server-sent events, of which the playground asks by a post.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

function tell(message) {
  const notice = document.getElementById("notice");
  notice.textContent = message;
  notice.hidden = !message;
}

async function post(address, values, signal) {
  const headers = { "hx-request": "true" };
  const answer = await fetch(address, { method: "POST", body: new URLSearchParams(values), headers, signal });
  if (answer.status === 401) window.location.assign(answer.headers.get("hx-redirect")); // the session has ended
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

async function stream(form, values, side, signal) {
  const said = side.querySelector(".said");
  const end = side.querySelector(".end");
  const own = [...values, ["side", side.dataset.side]];
  try {
    const answer = await post(form.dataset.stream, own, signal);
    for await (const event of events(answer)) {
      if (event.text !== undefined) {
        end.replaceChildren();
        said.append(event.text); // as text, whatever it is
      }
      if (event.html !== undefined) end.innerHTML = event.html; // made by the server, with everything escaped
    }
    if (end.querySelector(".waiting")) throw new Error("the server went away");
  } catch (error) {
    const line = document.createElement("p");
    line.className = "notice problem";
    line.textContent = signal.aborted ? "stopped" : error.message;
    end.replaceChildren(line);
  } finally {
    said.setAttribute("aria-busy", "false");
  }
}

let asking = null;

async function ask(form) {
  asking?.abort();
  const own = (asking = new AbortController());
  const stop = document.getElementById("stop");
  const values = [...new FormData(form)];
  tell("");
  stop.hidden = false;
  try {
    const answers = document.getElementById("answers");
    answers.innerHTML = await (await post(form.dataset.sides, values, own.signal)).text();
    const sides = [...answers.querySelectorAll("[data-side]")];
    await Promise.all(sides.map((side) => stream(form, values, side, own.signal)));
  } catch (error) {
    if (!own.signal.aborted) tell(error.message);
  } finally {
    if (asking === own) stop.hidden = true;
  }
}

const form = document.getElementById("ask");
if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(form);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    if (event.ctrlKey || event.metaKey) form.requestSubmit();
    else if (event.target.id === "find") event.preventDefault(); // what was found is shown already
  });
  document.getElementById("stop").addEventListener("click", () => asking?.abort());
}

document.getElementById("print")?.addEventListener("click", () => window.print());
document.addEventListener("htmx:responseError", (event) => tell(event.detail.xhr.responseText));
document.addEventListener("htmx:sendError", () => tell("the server cannot be reached"));
document.addEventListener("htmx:afterRequest", (event) => { if (event.detail.successful) tell(""); });
