// What stands at an address that no page has. Its words are in the document, for
// a server that has only this page of all.
import "./style/sheet.css";
import { header } from "./lib/chrome";

document.body.prepend(header("nowhere"));
