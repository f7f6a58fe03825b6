import { mount } from "svelte";

import App from "./App.svelte";
import "./style.css";
import "./form/style.css";
import "./result/style.css";

mount(App, { target: document.body });
