// The page behind the form: lists notes and adds new ones, and says so when it cannot.
const list = document.getElementById("notes");
const message = document.getElementById("message");
const title = document.getElementById("title");

async function ask(method, body) {
  const answer = await fetch("/api/notes", { method, body: body && JSON.stringify(body) });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error);
  return value;
}

function item(note) {
  const entry = document.createElement("li");
  const when = document.createElement("time");
  entry.textContent = note.title;
  when.dateTime = note.created;
  when.textContent = new Date(note.created).toLocaleString();
  entry.append(when);
  return entry;
}

async function refresh() {
  const { notes } = await ask("GET");
  list.replaceChildren(...notes.map(item));
}

async function attempt(action) {
  try {
    await action();
    message.textContent = "";
  } catch (error) {
    message.textContent = `That did not work: ${error.message}`;
  }
}

document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    await ask("POST", { title: title.value });
    title.value = "";
    await refresh();
  });
});

attempt(refresh);
