// Sets the theme before the first paint, so that nothing flashes. src/ui/theme.rs changes it afterwards.
(() => {
  let choice = null;
  if (document.documentElement.hasAttribute("data-frame")) {
    // A figure looks as the page that holds it says, not as its visitor once chose here.
    choice = new URLSearchParams(location.search).get("theme");
  } else {
    try {
      choice = localStorage.getItem("attnscope.theme");
    } catch {
      // Storage is closed to us; the system decides.
    }
  }
  const dark = choice === "dark" || (choice !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
