// The look of a form: which component shows which schema.

import { theme as basic } from "@sjsf/basic-theme";
import type { Config, ExtraUiOptions, Theme, Translation } from "@sjsf/form";
import "@sjsf/form/fields/extra-widgets/checkboxes";
import MultiChoiceField from "@sjsf/form/fields/extra/multi-enum.svelte";
import ChoiceField from "@sjsf/form/fields/extra/enum.svelte";
import { overrideByRecord } from "@sjsf/form/lib/resolver";
import { translation as english } from "@sjsf/form/translations/en";

import type { HTMLTextareaAttributes } from "svelte/elements";

import Checkbox from "./Checkbox.svelte";
import Checkboxes from "./Checkboxes.svelte";
import Choice from "./Choice.svelte";
import FilesField from "./FilesField.svelte";
import FixedField from "./FixedField.svelte";
import JsonField from "./JsonField.svelte";
import Layout from "./Layout.svelte";
import NumberInput from "./NumberInput.svelte";
import OptionalField from "./OptionalField.svelte";
import type { FormSchema } from "./schema";
import Text from "./Text.svelte";
import Title from "./Title.svelte";
import UnionField from "./UnionField.svelte";

declare module "@sjsf/form" {
  interface UiOptions {
    textarea?: HTMLTextareaAttributes;
  }
}

const KINDS = {
  fixed: FixedField,
  json: JsonField,
  optional: OptionalField,
  union: UnionField,
} as const;

/** Return the name of the field that shows a schema. */
export function fieldOf({ schema }: Config): never {
  return nameOf(schema as FormSchema) as never;
}

function nameOf(schema: FormSchema): string {
  const { kind, type } = schema;
  if (kind === "file") return "stringField";
  if (kind === "files") return "filesField";
  if (kind) return `${kind}Field`;
  if (Array.isArray(schema.enum)) return "enumField";
  if (type === "array") {
    const items = schema.items as FormSchema | FormSchema[] | undefined;
    if (Array.isArray(items)) return "tupleField";
    return items?.enum && schema.uniqueItems ? "multiEnumField" : "arrayField";
  }
  if (type === "integer") return "numberField"; // which does not silently drop a fraction
  return typeof type === "string" ? `${type}Field` : "jsonField";
}

const own = {
  ...Object.fromEntries(Object.entries(KINDS).map(([kind, field]) => [`${kind}Field`, field])),
  filesField: FilesField,
  enumField: ChoiceField,
  multiEnumField: MultiChoiceField,
  numberWidget: NumberInput,
  textWidget: Text,
  selectWidget: Choice,
  checkboxWidget: Checkbox,
  checkboxesWidget: Checkboxes,
  layout: Layout,
  title: Title,
};
export const theme = overrideByRecord(basic, own as never) as Theme;

/** Return whether a choice is shown as radio buttons: few, short, and always with a value. */
export function isRadio({ schema, required }: Config): boolean {
  const choices = schema.enum ?? [];
  const isShort = choices.length <= 4 && choices.map(String).join("").length <= 40;
  return isShort && choices.length > 0 && (required || schema.default !== undefined);
}

const OPTIONS: Record<string, (config: Config) => unknown> = {
  // Clearing a text that has a default means sending an empty one.
  stringEmptyValue: ({ schema }) => (typeof schema.default === "string" ? "" : undefined),
  clearable: ({ schema, required }) => !required && schema.default === undefined,
  useLabel: (config) => (isRadio(config) ? false : undefined),
  enumNames: ({ schema }) => {
    return schema.enum?.[0] === true && schema.enum[1] === false ? ["Yes", "No"] : undefined;
  },
  // The default is what the server uses if the field is left out.
  number: ({ schema }) => ({ placeholder: schema.default === undefined ? "" : String(schema.default) }),
  itemTitle: () => (title: string, index: number) => `${title} ${index + 1}`,
  additionalPropertyKey: () => (name: string, attempt: number) => {
    return attempt ? `${name} ${attempt + 1}` : name;
  },
};
export const options = ((option: string, config: Config) => {
  return OPTIONS[option]?.(config);
}) as ExtraUiOptions;

/** Return the texts of a form whose button is labelled `submit`. */
export function texts(submit: string): Translation {
  return overrideByRecord(english, {
    submit,
    "add-array-item": "Add",
    "add-object-property": "Add",
    "additional-property": "name",
    "key-input-title": "Name",
    "move-array-item-down": "Move down",
    "move-array-item-up": "Move up",
    "remove-array-item": "Remove",
    "remove-object-property": "Remove",
  } as never) as Translation;
}
