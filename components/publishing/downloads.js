// Links to a run's files: all of them as a zip, and each by itself.

const zip = element.querySelector(".tb-zip");
const list = element.querySelector(".tb-files");
const fold = element.querySelector("details");

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let place = 0;
  while (bytes >= 999.5 && place < units.length - 1) {
    bytes /= 1000;
    place += 1;
  }
  return `${place === 0 || bytes >= 99.95 ? Math.round(bytes) : bytes.toPrecision(3)} ${units[place]}`;
}

function address(offer, file) {
  const path = file.split("/").map(encodeURIComponent).join("/");
  return new URL(`download/${offer.ticket}/${path}`, document.baseURI).href;
}

function draw() {
  const offer = props.value;
  element.querySelector(".tb-downloads").hidden = !offer;
  list.replaceChildren();
  if (!offer) return;
  zip.href = address(offer, `${offer.name}.zip`);
  zip.textContent = `Download all (${size(offer.bytes)})`;
  for (const [file, bytes] of offer.files) {
    const line = document.createElement("li");
    const link = document.createElement("a");
    link.href = address(offer, file);
    link.textContent = file;
    link.setAttribute("download", "");
    const note = document.createElement("span");
    note.textContent = size(bytes);
    line.append(link, note);
    list.append(line);
  }
  fold.querySelector("summary").textContent = `${offer.files.length} files`;
}

watch("value", draw);
draw();
