import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { printRows, printValue } from '../../src/cli/format.ts';
import { compileTemplate } from '../../src/cli/template.ts';
import { isImagoError } from '../../src/core/errors.ts';

const dot = {
  Id: 'sha256:abc',
  Name: 'Web',
  Size: 1234,
  Running: true,
  Stopped: false,
  Empty: '',
  Nothing: null,
  Config: { Env: ['PATH=/bin', 'A=1'], Labels: { b: '2', a: '1' }, Cmd: [], Nested: { Deep: 'x' } },
  Mounts: [
    { Source: '/a', Destination: '/b' },
    { Source: '/c', Destination: '/d' },
  ],
};

/** Outputs as `docker inspect --format` gives them for such data. */
const cases: [template: string, output: string][] = [
  ['plain', 'plain'],
  ['{{.Name}}', 'Web'],
  ['<{{ .Name }}>', '<Web>'],
  ['{{.Config.Nested.Deep}}', 'x'],
  ['{{(.Config).Nested.Deep}}', 'x'],
  ['{{.Size}} {{.Running}} {{.Nothing}}', '1234 true <no value>'],
  ['{{.Config.Env}} {{.Config.Labels}} {{.Config.Cmd}}', '[PATH=/bin A=1] map[a:1 b:2] []'],
  ['{{json .Config.Labels}} {{json .Name}} {{.Config.Cmd | json}}', '{"b":"2","a":"1"} "Web" []'],
  ['{{json .}}', JSON.stringify(dot)],
  ['{{upper .Name}} {{lower .Name}} {{title "ab cd"}}', 'WEB web Ab Cd'],
  ['{{join .Config.Env ","}} {{len .Config.Env}} {{len "äb"}}', 'PATH=/bin,A=1 2 3'],
  ['{{index .Config.Labels "a"}}|{{index .Config.Labels "zz"}}|{{index .Config.Env 1}}', '1||A=1'],
  ['{{(index .Mounts 0).Source}}', '/a'],
  ['{{index (split "a:b:c" ":") 1}}', 'b'],
  ['{{if .Running}}yes{{else}}no{{end}} {{if .Stopped}}yes{{else}}no{{end}}', 'yes no'],
  ['{{if .Stopped}}a{{else if .Running}}b{{else}}c{{end}}', 'b'],
  ['{{if not .Stopped}}up{{end}}{{if .Config.Cmd}}cmd{{end}}{{if .Empty}}e{{end}}', 'up'],
  ['{{range .Config.Env}}[{{.}}]{{end}}', '[PATH=/bin][A=1]'],
  ['{{range $i, $v := .Config.Env}}{{if $i}}, {{end}}{{$i}}={{$v}}{{end}}', '0=PATH=/bin, 1=A=1'],
  ['{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}};{{end}}', 'a:1;b:2;'],
  ['{{range .Mounts}}{{.Source}}->{{.Destination}} {{$.Name}}\n{{end}}', '/a->/b Web\n/c->/d Web\n'],
  ['{{range .Config.Cmd}}x{{else}}none{{end}}', 'none'],
  ['{{with .Config.Nested}}{{.Deep}}{{end}}{{with .Empty}}x{{else}}y{{end}}', 'xy'],
  ['{{$n := .Name}}{{range .Config.Env}}{{$n}} {{end}}', 'Web Web '],
  ['{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}', '2'],
  ['{{with $m := .Config}}{{$m.Nested.Deep}}{{end}}', 'x'],
  [
    '{{printf "%s is %d %q %v %5d|%-5s|%05d %.2f %t %x%%" .Name .Size .Name .Config.Env 7 "a" 7 1.5 true 255}}',
    'Web is 1234 "Web" [PATH=/bin A=1]     7|a    |00007 1.50 true ff%',
  ],
  [
    '{{printf "%s"}} {{printf "x" 1}} {{print 1 "a"}} {{print 1 2}} {{println "a" 2}}',
    '%!s(MISSING) x%!(EXTRA int=1) 1a 1 2 a 2\n',
  ],
  ['{{if and .Running (eq .Name "Web" )}}a{{end}}{{if or .Stopped .Empty}}b{{end}}', 'a'],
  ['{{or .Empty "default"}} {{and .Name .Size}}', 'default 1234'],
  [
    '{{if eq .Size 1 2 1234}}in{{end}} {{if ne .Name "x"}}ne{{end}} {{gt .Size 5}} {{le 2 2}} {{lt "a" "b"}} {{ge 1 2}}',
    'in ne true true true false',
  ],
  ['a {{- " b " -}} c', 'a b c'],
  ['{{/* nothing */}}x{{- /* trims */ -}} y', 'xy'],
  [
    '{{"quoted \\"x\\""}} {{`raw\\n`}} {{truncate .Name 2}} {{slice .Name 1 3}} {{pad "x" 1 2}}|',
    'quoted "x" raw\\n We eb  x  |',
  ],
  ['{{.Name | lower | printf "%s-%s" "a"}}', 'a-web'],
  ['{{range 3}}{{.}}{{end}}', '012'],
];

describe('templates', () => {
  for (const [template, output] of cases) {
    test(template, () => assert.equal(compileTemplate(template)(dot), output));
  }

  const bad: [template: string, problem: string][] = [
    ['{{.Foo}}', '1:3: no field Foo; there are Id, Name'],
    ['ab\n {{.Config.Foo}}', '2:4: no field Foo; there are Env, Labels, Cmd, Nested'],
    ['{{.Nothing.X}}', '1:3: nil has no field X'],
    ['{{.constructor}}', '1:3: no field constructor'],
    ['{{.Name', '1:1: unclosed action'],
    ['{{}}', '1:1: missing value for command'],
    ['{{if .Name}}x', '1:3: {{if}} has no {{end}}'],
    ['x{{end}}', '1:2: unexpected {{end}}'],
    ['{{else}}', '1:1: unexpected {{else}}'],
    ['{{nope .Name}}', '1:3: function "nope" not defined'],
    ['{{upper}}', '1:3: upper wants 1 arguments, got 0'],
    ['{{upper .Config}}', '1:3: wanted a string, got map'],
    ['{{index .Config.Env 9}}', '1:3: index 9 is out of range of 2 items'],
    ['{{eq 1 "a"}}', "1:3: can't compare 1 with a"],
    ['{{$x}}', '1:3: undefined variable $x'],
    ['{{$x = 1}}', '1:3: undefined variable $x'],
    ['{{.Name .Size}}', "1:9: can't give arguments to a value"],
    ['{{(.Name}}', '1:3: unclosed left parenthesis'],
    ['{{"a}}', '1:3: unexpected "\\""'],
    ['{{range .Name}}{{end}}', "1:9: range can't iterate over Web"],
    ['{{template "x"}}', '1:3: {{template}} is not supported'],
    ['{{/* x', '1:1: unclosed comment'],
    ['{{.Name | 3}}', '1:11: a pipe needs a function after it'],
  ];
  for (const [template, problem] of bad) {
    test(`${JSON.stringify(template)} is an error`, () => {
      assert.throws(
        () => compileTemplate(template)(dot),
        (error) => isImagoError(error, 'BAD_TEMPLATE') && error.message.startsWith(`--format, at ${problem}`),
      );
    });
  }
});

describe('lists', () => {
  const list = { headers: { ID: 'CONTAINER ID', Names: 'NAMES', Image: 'IMAGE' }, columns: ['ID', 'Names'] };
  const rows = [
    { ID: 'abcdef012345', Names: 'web', Image: 'debian:bookworm' },
    { ID: '1', Names: 'a_longer_name', Image: 'x' },
  ];
  const printed = (format?: string, of = rows): string => {
    let out = '';
    printRows({ write: (text) => (out += text) }, list, of, format);
    return out;
  };

  test('a table by default, with headers even where it is empty', () => {
    assert.equal(printed(), 'CONTAINER ID   NAMES\nabcdef012345   web\n1              a_longer_name\n');
    assert.equal(printed(undefined, []), 'CONTAINER ID   NAMES\n');
  });
  test('table TEMPLATE has the headers of its fields', () => {
    assert.equal(
      printed('table {{.Names}}\\t{{upper .Image}}'),
      'NAMES           IMAGE\nweb             DEBIAN:BOOKWORM\na_longer_name   X\n',
    );
  });
  test('json is one object a line with sorted keys', () => {
    assert.equal(
      printed('json'),
      '{"ID":"abcdef012345","Image":"debian:bookworm","Names":"web"}\n{"ID":"1","Image":"x","Names":"a_longer_name"}\n',
    );
  });
  test('a template is one line a row', () => {
    assert.equal(printed('{{.ID}}\\t{{json .Names}}'), 'abcdef012345\t"web"\n1\t"a_longer_name"\n');
    assert.equal(printed('{{.ID}}', []), '');
  });
  test('one value', () => {
    let out = '';
    const write = (text: string) => (out += text);
    printValue({ write }, dot, 'json');
    printValue({ write }, dot, '{{.Name}}\\n{{.Size}}');
    assert.equal(out, `${JSON.stringify(dot)}\nWeb\n1234\n`);
  });
});
