// plotly.js, from this server, once per page and beside everything else. `props.plotly` says where it is.

window.tiebreakPlotly ??= new Promise((ready, fail) => {
  const tag = document.createElement("script");
  tag.src = new URL(props.plotly, document.baseURI).href;
  tag.async = true;
  tag.onload = () => ready(window.Plotly);
  tag.onerror = () => fail(new Error("plotly.js could not be loaded"));
  document.head.append(tag);
});

// Plotly reads tags and entities in its labels: none are let through.
const plain = (name) => name.replaceAll("<", "‹").replaceAll(">", "›").replaceAll("&", "＆");

const PLOTLY_CONFIG = { displayModeBar: false, staticPlot: true, showSendToCloud: false, plotlyServerURL: "" };
