import { svelte } from "@sveltejs/vite-plugin-svelte";
import { env } from "node:process";
import { defineConfig, type Plugin } from "vite";

import { fingerprint } from "./fingerprint";

// A server to develop against: `npm run dev` passes on what is not the page.
const SERVER = env.SERVER ?? "http://127.0.0.1:8000";

const stamped: Plugin = {
  name: "stamped",
  transformIndexHtml: () => [
    { tag: "meta", attrs: { name: "sources", content: fingerprint(import.meta.dirname) } },
  ],
};

export default defineConfig({
  base: "./",
  plugins: [svelte(), stamped],
  build: {
    outDir: "../src/potassium/pages/static",
    emptyOutDir: true,
    assetsDir: "docs/assets",
    assetsInlineLimit: 0,
    modulePreload: false,
    target: "es2023",
  },
  server: {
    proxy: {
      "^/(?!src/|node_modules/|@|$)": { target: SERVER },
    },
  },
});
