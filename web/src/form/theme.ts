// How the fields of a form look.

import { theme as basic } from "@sjsf/basic-theme";
import { overrideByRecord } from "@sjsf/form/lib/resolver";

import TextOrFile from "./TextOrFile.svelte";

export const theme = overrideByRecord(basic, { textWidget: TextOrFile });
