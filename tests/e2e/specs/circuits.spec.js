// Studies of circuits by link and in two clicks, and attribution patching beside exact patching.
import { test, expect } from "../pages/test.js";

const link = (study) => `m=circuits-2m&p=Lily has the ball.&a=softmax&tab=studies&study=${study}`;

test("a refusal rests on few heads: the study runs to its end, says so, and is the paper's number", async ({ playground, page }) => {
  await playground.open(link("safety"));
  const studies = page.getByTestId("studies");
  await expect(studies).toHaveAttribute("data-whole", "true", { timeout: 120_000 });
  await expect(page.getByTestId("study-verdict")).toContainText("answered 0 % of the time by the whole model, 100 %");
  await expect(page.getByTestId("takeaway-number")).toHaveText("100.0 % answered without one head");
});

test("each study of circuits begins by itself and draws", async ({ playground, page }) => {
  await playground.open(link("recall"));
  for (const study of ["recall", "anchors", "letters", "retrieval", "channels", "calibration"]) {
    await page.locator(`[data-test=study][data-word=${study}]`).click();
    await expect(page.getByTestId("studies")).toHaveAttribute("data-study", study);
    await expect(page.getByTestId("studies")).toHaveAttribute("data-whole", "true", { timeout: 150_000 });
    expect((await page.getByTestId("study-verdict").textContent()).length).toBeGreaterThan(80);
    expect(playground.hash()).toContain(`study=${study}`);
  }
});

test("what a study edits is seen: labels, rows and their size, one answer token by token, ε, an intercept", async ({ playground, page }) => {
  test.setTimeout(600_000);
  const drawings = {
    letters: ["letters.rank", "letters.labels", "letters.probe"],
    anchors: ["anchors.labelled", "anchors.changed"],
    retrieval: ["retrieval.replay", "retrieval.passage"],
    safety: ["safety.epsilon"],
    recall: ["recall.waterfall", "recall.intercept", "recall.neutral"],
    features: ["agreement", "cues", "planted"],
  };
  await playground.open(link("letters"));
  for (const [study, ids] of Object.entries(drawings)) {
    await page.locator(`[data-test=study][data-word=${study}]`).click();
    await expect(page.getByTestId("studies")).toHaveAttribute("data-study", study);
    await expect(page.getByTestId("studies")).toHaveAttribute("data-whole", "true", { timeout: 200_000 });
    for (const id of ids) {
      const figure = page.locator(`[data-test=exhibit][data-exhibit="${id}"]`);
      await expect(figure).toBeVisible();
      const svg = await figure.locator(".picture svg").evaluate((node) => node.outerHTML);
      expect(svg.length).toBeGreaterThan(300);
      expect(svg).not.toMatch(/NaN|inf/);
    }
  }
});

test("a model that lacks the words is refused by name, with the way to one that has them", async ({ playground, page }) => {
  await playground.open("tab=studies&study=safety");
  await expect(page.getByTestId("trouble")).toContainText("should be one token");
  await page.getByTestId("study-model").click();
  await expect(page.getByTestId("studies")).toHaveAttribute("data-whole", "true", { timeout: 120_000 });
});

test("patches are estimated by slopes beside the exact ones, with how far their order agrees", async ({ playground, page }) => {
  await playground.open();
  await playground.tab("interventions").click();
  await page.locator("[data-test=act][data-word=patch]").click();
  await page.getByTestId("patch-example").first().click();
  await expect(page.getByTestId("patching")).toHaveAttribute("data-fresh", "true", { timeout: 90_000 });
  const rank = page.getByTestId("rank");
  expect(await playground.number(rank, "data-value")).toBeGreaterThan(0.3);
  const cells = page.getByTestId("estimate-table").locator("td[data-value]");
  expect(await cells.count()).toBe(await page.getByTestId("patch-table").locator("td[data-value]").count());
  // Heads come into nearly the same order.
  await page.locator("[data-test=site][data-word=heads]").click();
  await expect(page.getByTestId("patching")).toHaveAttribute("data-fresh", "true", { timeout: 90_000 });
  expect(await playground.number(rank, "data-value")).toBeGreaterThan(0.9);
});
