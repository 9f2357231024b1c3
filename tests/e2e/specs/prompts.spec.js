// Prompts as nobody writes them are shown as text: no markup comes alive, nothing leaves its place, nothing hangs.
import { test, expect } from "../pages/test.js";

const STRANGE = {
  markup: '<script>window.pwned=1</script><img src=x onerror="window.pwned=2"><svg onload=window.pwned=3>&amp;&lt;',
  attributes: `" onfocus="window.pwned=4" autofocus x="' onmouseover='window.pwned=5`,
  "right to left": "abc \u202efed\u202c \u2066x\u2069 \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
  "nothing to see": "a\u200bb\u200cc\u200dd\u2060e\ufefff\u00adg",
  "combining marks": `e${"\u0301".repeat(60)} z${"\u0489".repeat(60)}`,
  controls: "a\u0000b\u0001c\u001bd\u007fe\u0085f",
  "far planes": "\u{10348}\u{1D518}\u{2070E}\u{E0041}\u{10FFFD} \u{1F469}\u200d\u{1F469}\u200d\u{1F467}",
};

// What a text could change about the page around it.
const surroundings = (page) =>
  page.evaluate(() => ({
    elements: document.querySelectorAll("script, iframe, object, embed, img, [onfocus], [onerror], [onload]").length,
    pwned: window.pwned ?? null,
    direction: getComputedStyle(document.querySelector("main") ?? document.body).direction,
    overflows: document.documentElement.scrollWidth > document.documentElement.clientWidth,
  }));

test("strange prompts are text and nothing else", async ({ playground, page }) => {
  const dialogs = [];
  page.on("dialog", (dialog) => {
    dialogs.push(dialog.message());
    dialog.dismiss();
  });
  await playground.open("v=1&m=stories-3m&p=Once%20upon");
  const before = await surroundings(page);
  expect(before.overflows).toBe(false);
  for (const [name, text] of Object.entries(STRANGE)) {
    await playground.type(text);
    expect(await playground.prompt.inputValue(), name).toBe(text);
    expect(await surroundings(page), name).toEqual(before);
    const chips = await playground.tokens.allTextContents();
    expect(chips.length, name).toBeGreaterThan(1);
    expect(chips.filter((chip) => chip === ""), `${name}: chips without a text`).toEqual([]);
    // A character that shows nothing, or turns the line, must not hang over its chip into others.
    const heights = await playground.tokens.evaluateAll((all) => all.map((chip) => chip.getBoundingClientRect().height));
    expect(Math.max(...heights), `${name}: chips keep the height of their line`).toBeLessThan(2 * Math.min(...heights));
  }
  expect(dialogs).toEqual([]);
});

test("a prompt of a hundred thousand characters is cut, said and shown", async ({ playground, page }) => {
  const text = "Once upon a time there was a girl. ".repeat(3000).slice(0, 100_000);
  await playground.open(`v=1&m=stories-3m&p=${encodeURIComponent("Once")}`);
  const began = Date.now();
  await playground.type(text);
  expect(Date.now() - began).toBeLessThan(60_000);
  expect((await playground.prompt.inputValue()).length).toBe(100_000);
  await expect(page.getByTestId("tokens")).toHaveAttribute("data-count", "512");
  await expect(page.getByText(/was cut to the first 512/).first()).toBeVisible();
});
