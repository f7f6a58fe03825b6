// A file that is pasted outside of any field goes to the only field that takes files.

import { getContext, setContext } from "svelte";

type Take = (files: FileList) => void;
const PASTING = Symbol("pasting");

export function holdPasting(): Set<Take> {
  return setContext(PASTING, new Set<Take>());
}

/** Register a field that takes files, for as long as it exists. Call it in an effect. */
export function takesPasted(fields: Set<Take> | undefined, take: Take): () => void {
  fields?.add(take);
  return () => fields?.delete(take);
}

export function getPasting(): Set<Take> | undefined {
  return getContext<Set<Take> | undefined>(PASTING);
}
