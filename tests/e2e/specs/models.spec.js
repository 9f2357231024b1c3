// The shipped models: what one costs is said before it is fetched, and choosing it changes everything that depends on it.
import { test, expect } from "../pages/test.js";

test("another model is chosen in the dialog, with its price beside it", async ({ playground, page }) => {
  await playground.open();
  const before = await playground.heads.count();
  await page.getByTestId("model").click();
  const choice = page.locator("[data-test=model-choice][data-model='circuits-2m']");
  await expect(choice.locator("xpath=ancestor::label")).toContainText(/to fetch, about .* of memory/);
  await playground.rerun(() => choice.check());
  await expect(page).toHaveURL(/m=circuits-2m/);
  await expect(playground.heads).not.toHaveCount(before);
  await expect(playground.engine).toHaveAttribute("data-self-check", /./);
  await page.reload();
  await playground.settled();
  await expect(page.getByTestId("model")).toContainText("circuits-2m");
});
