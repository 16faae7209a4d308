/* Takes the tour in Firefox over WebDriver BiDi: `node firefox.mjs FIREFOX ADDRESS`. Prints the tour's last
   message as one line of JSON. */

import puppeteer from "puppeteer-core";

const PATIENCE = 290_000; // ms
const NEXT = "import('/tour.mjs').then((tour) => tour.next())";

const [executablePath, address] = process.argv.slice(2);
const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath,
  headless: true,
  protocolTimeout: PATIENCE,
  defaultViewport: { width: 1280, height: 800 },
});
try {
  const page = await browser.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(address);
  let message = await page.evaluate(NEXT);
  while (message.drag) {
    const [x, y, toX, toY] = message.drag;
    await page.mouse.move(x, y);
    await page.mouse.down();
    await page.mouse.move(toX, toY, { steps: 5 });
    await page.mouse.up();
    message = await page.evaluate(NEXT);
  }
  message.problems.push(...errors);
  console.log(JSON.stringify(message));
} finally {
  await browser.close();
}
