// The page for addresses that do not exist. Its text is in the HTML document, so that it can be read
// without this script.
import "./style/sheet.css";
import { header } from "./lib/chrome";

document.body.prepend(header("nowhere"));
