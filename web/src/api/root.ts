// Where the app is.

// The page's own files are at docs/assets/ below the app, wherever that is mounted and whatever a
// proxy has removed from the path.
const here = import.meta.url;
export const ROOT = new URL(import.meta.env.DEV ? "/" : "../../", here);
