'use strict';
// Draws each chart when it comes into view, in the colours of the page, over
// the axis that was chosen.
(() => {
  const drawn = new Map(); // Element of a chart to what was drawn in it.
  let chosen = '';

  function paint(plot) {
    const style = getComputedStyle(document.documentElement);
    const [faint, line] = ['--faint', '--line'].map((x) => style.getPropertyValue(x).trim());
    for (const axis of [...plot.below, ...plot.left]) {
      axis.axis_label_text_color = axis.major_label_text_color = faint;
      axis.axis_line_color = axis.major_tick_line_color = line;
      axis.minor_tick_line_color = null;
    }
    for (const grid of plot.center) grid.grid_line_color = line;
  }

  // The column x0 is what is drawn: it gets the values of the chosen axis.
  function turn({ plot, axes, columns }) {
    const index = Math.max(0, axes.indexOf(chosen));
    if (plot.below[0].axis_label === axes[index]) return;
    for (const [source, data] of columns) source.data = { ...data, x0: data[`x${index}`] };
    plot.below[0].axis_label = axes[index];
  }

  async function draw(element) {
    if (drawn.has(element)) return;
    drawn.set(element, null);
    const item = JSON.parse(element.nextElementSibling.textContent);
    await Bokeh.embed.embed_item(item, element);
    const found = Bokeh.documents.find((each) => each.get_model_by_id(item.root_id));
    const plot = found.get_model_by_id(item.root_id);
    const columns = new Map(plot.renderers.map(({ data_source: x }) => [x, { ...x.data }]));
    const all = { plot, columns, axes: JSON.parse(element.dataset.axes) };
    drawn.set(element, all);
    paint(plot);
    turn(all);
  }

  const elements = [...document.querySelectorAll('.chart')];
  const ready = () => [...drawn.values()].filter(Boolean);
  const repaint = () => ready().forEach(({ plot }) => paint(plot));

  // What is out of view, one after the other while there is nothing to do.
  async function drawRest() {
    const idle = window.requestIdleCallback || ((call) => setTimeout(call, 50));
    for (const each of elements) {
      await new Promise((done) => idle(done));
      await draw(each);
    }
  }

  function offer() {
    const names = [...new Set(elements.flatMap((each) => JSON.parse(each.dataset.axes)))];
    const switched = elements.flatMap((each) => {
      const axes = JSON.parse(each.dataset.axes);
      return axes.length > 1 ? axes : [];
    });
    const box = document.getElementById('axes');
    for (const name of names.filter((each) => switched.includes(each))) {
      const label = document.createElement('label');
      const input = document.createElement('input');
      Object.assign(input, { type: 'radio', name: 'axis', value: name });
      input.checked = !box.querySelector('input');
      input.addEventListener('change', () => {
        chosen = name;
        ready().forEach(turn);
      });
      label.append(input, ` ${name} `);
      box.append(label);
      box.hidden = false;
    }
  }

  offer();
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      draw(target);
    }
  }, { rootMargin: '400px' });
  elements.forEach((each) => watcher.observe(each));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', repaint);
  matchMedia('print').addEventListener('change', repaint);
  addEventListener('beforeprint', () => elements.forEach(draw));
  addEventListener('load', drawRest);
})();
