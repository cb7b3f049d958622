// plotly.js, from this server: megabytes, fetched once per page, as soon as there is something to draw with it.

function loadPlotly() {
  window.tiebreakPlotly ??= new Promise((ready, fail) => {
    const tag = document.createElement("script");
    tag.src = new URL(props.plotly, document.baseURI).href;
    tag.async = true;
    tag.onload = () => ready(window.Plotly);
    tag.onerror = () => {
      window.tiebreakPlotly = null;
      fail(new Error("plotly.js could not be loaded"));
    };
    document.head.append(tag);
  });
  return window.tiebreakPlotly;
}
