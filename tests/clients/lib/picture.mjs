// What a screenshot holds, in numbers: decoded by the browser itself, on a blank page.

// colours: different ones (of 4096 after rounding); spread: standard deviation of brightness; light: its mean, 0 to 255.
export async function judge(browser, png) {
  const page = await browser.newPage();
  try {
    return await page.evaluate(async (base64) => {
      const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${base64}`)).blob());
      const canvas = new OffscreenCanvas(image.width, image.height), pen = canvas.getContext('2d');
      pen.drawImage(image, 0, 0);
      const { data } = pen.getImageData(0, 0, image.width, image.height), colours = new Set();
      let sum = 0, squares = 0;
      for (let i = 0; i < data.length; i += 4) {
        const light = .299 * data[i] + .587 * data[i + 1] + .114 * data[i + 2];
        sum += light;
        squares += light * light;
        colours.add((data[i] >> 4) << 8 | (data[i + 1] >> 4) << 4 | data[i + 2] >> 4);
      }
      const pixels = data.length / 4, mean = sum / pixels;
      return { colours: colours.size, spread: Math.sqrt(squares / pixels - mean * mean), light: mean };
    }, png.toString('base64'));
  } finally {
    await page.close();
  }
}
