// Gathers the files that are dropped or chosen, those of folders too, for elements that ask for them with `data-files`.
//
// The element hears one event `files`, whose detail is a list of { path, file }. It bubbles from the element something was
// dropped on, or from the input they were chosen with.

const gives = (target, files) => target.dispatchEvent(new CustomEvent("files", { bubbles: true, detail: files }));
const place = (event) => event.target.closest?.("[data-files]");

async function gather(entry, files) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    files.push({ path: entry.fullPath.replace(/^\//, ""), file });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A reader gives a hundred entries at a time.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return;
    for (const each of some) await gather(each, files);
  }
}

addEventListener("dragover", (event) => {
  const at = place(event);
  if (!at) return;
  event.preventDefault();
  at.classList.add("over");
});

for (const end of ["dragleave", "drop"]) addEventListener(end, (event) => place(event)?.classList.remove("over"));

addEventListener("drop", async (event) => {
  const at = place(event);
  if (!at) return;
  event.preventDefault();
  // Both must be read before the first wait, after which the browser forgets what was dropped.
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const plain = [...event.dataTransfer.files];
  const files = [];
  try {
    for (const entry of entries) await gather(entry, files);
  } catch {
    files.length = 0;
  }
  gives(at, files.length > 0 ? files : plain.map((file) => ({ path: file.name, file })));
});

addEventListener("change", (event) => {
  const input = event.target;
  if (input.type !== "file" || !place(event)) return;
  const files = [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
  gives(input, files);
  // The same files can be chosen once more.
  input.value = "";
});
