// Where a file goes that is pasted outside of any field: into the only one that takes files.

import { getContext, setContext } from "svelte";

type Take = (files: FileList) => void;
const PASTING = Symbol("pasting");

export function holdPasting(): Set<Take> {
  return setContext(PASTING, new Set<Take>());
}

/** Tell that a field takes files, for as long as it is there. Call it in an effect. */
export function takesPasted(fields: Set<Take> | undefined, take: Take): () => void {
  fields?.add(take);
  return () => fields?.delete(take);
}

export function getPasting(): Set<Take> | undefined {
  return getContext<Set<Take> | undefined>(PASTING);
}
