export type RuleName =
  | 'StageNameCasing'
  | 'FromAsCasing'
  | 'NoEmptyContinuation'
  | 'ConsistentInstructionCasing'
  | 'DuplicateStageName'
  | 'ReservedStageName'
  | 'JSONArgsRecommended'
  | 'MaintainerDeprecated'
  | 'UndefinedArgInFrom'
  | 'WorkdirRelativePath'
  | 'UndefinedVar'
  | 'MultipleInstructionsDisallowed'
  | 'LegacyKeyValueFormat'
  | 'InvalidBaseImagePlatform'
  | 'RedundantTargetPlatform'
  | 'SecretsUsedInArgOrEnv'
  | 'InvalidDefaultArgInFrom'
  | 'FromPlatformFlagConstDisallowed'
  | 'CopyIgnoredFile'
  | 'InvalidDefinitionDescription'
  | 'ExposeProtoCasing'
  | 'ExposeInvalidFormat';

export interface CheckRule {
  /** Why what it finds is worth a change. */
  description: string;
  /** Undefined where docs.docker.com has no page of it. */
  url: string | undefined;
  /** Only checked where it is asked for. */
  experimental?: true;
}

function rule(page: string, description: string, experimental?: true): CheckRule {
  const url = `https://docs.docker.com/go/dockerfile/rule/${page}/`;
  return { description, url, ...(experimental && { experimental }) };
}

/** All rules of BuildKit 0.32 (frontend/dockerfile/linter/ruleset.go), under its names. */
export const RULES: Readonly<Record<RuleName, CheckRule>> = {
  StageNameCasing: rule('stage-name-casing', 'Names of stages should be in lower case'),
  FromAsCasing: rule('from-as-casing', "'as' should be in capitals where 'FROM' is, and only there"),
  NoEmptyContinuation: rule(
    'no-empty-continuation',
    'An empty line inside of a continued instruction will be an error some day',
  ),
  ConsistentInstructionCasing: rule(
    'consistent-instruction-casing',
    'All instructions of a Dockerfile should be in capitals, or none',
  ),
  DuplicateStageName: rule('duplicate-stage-name', 'A stage should have a name of its own'),
  ReservedStageName: rule(
    'reserved-stage-name',
    "'scratch' and 'context' mean something already and should name no stage",
  ),
  JSONArgsRecommended: rule(
    'json-args-recommended',
    'In shell form the shell is what gets the signals, not the command: use a JSON array',
  ),
  MaintainerDeprecated: rule('maintainer-deprecated', 'MAINTAINER is deprecated: a label names the author'),
  UndefinedArgInFrom: rule('undefined-arg-in-from', 'FROM should use only variables that an ARG above it declares'),
  WorkdirRelativePath: rule(
    'workdir-relative-path',
    'Where a relative WORKDIR leads depends on the base image unless an absolute one stands before it',
  ),
  UndefinedVar: rule('undefined-var', 'A variable should be set before it is used'),
  MultipleInstructionsDisallowed: rule(
    'multiple-instructions-disallowed',
    'Of several of these in one stage only the last has an effect',
  ),
  LegacyKeyValueFormat: rule('legacy-key-value-format', 'A space between a key and its value is the old form: use ='),
  InvalidBaseImagePlatform: {
    description: 'The base image is for another platform than the build',
    url: undefined,
  },
  RedundantTargetPlatform: rule('redundant-target-platform', 'FROM takes the platform of the target by itself'),
  SecretsUsedInArgOrEnv: rule(
    'secrets-used-in-arg-or-env',
    'What ARG and ENV hold stays readable in the image: use RUN --mount=type=secret',
  ),
  InvalidDefaultArgInFrom: rule(
    'invalid-default-arg-in-from',
    'Without --build-arg the name of the base image is empty or wrong: give the ARG a default',
  ),
  FromPlatformFlagConstDisallowed: rule(
    'from-platform-flag-const-disallowed',
    'A fixed --platform in FROM keeps the Dockerfile from being built for others',
  ),
  CopyIgnoredFile: rule('copy-ignored-file', 'The file is not in the context: .dockerignore names it'),
  InvalidDefinitionDescription: rule(
    'invalid-definition-description',
    'A comment right above an ARG or a FROM describes it, and begins with its name then; an empty line or a lone # between them parts them',
    true,
  ),
  ExposeProtoCasing: rule('expose-proto-casing', 'The protocol of EXPOSE should be in lower case'),
  ExposeInvalidFormat: rule(
    'expose-invalid-format',
    'EXPOSE takes no address and no port of the host; they will be errors some day',
  ),
};
