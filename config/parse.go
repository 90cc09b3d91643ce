package config

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"canopy/internal/redact"
)

// Action is what a command line asks for.
type Action uint8

// The actions. Help and Version are decided before the environment is read (F5).
const (
	Serve   Action = iota // run a member
	Help                  // print HelpText to standard output, exit 0
	Version               // print VersionText to standard output, exit 0
	Check                 // print Config.Effective and exit 0, or the faults and exit 1 (F61)
)

// Note is something the log should say about flags and variables at the start.
type Note struct {
	Warning bool   // else informational
	Text    string // one line, the reference's words where it has any
}

// Invocation is the result of a command line and an environment.
type Invocation struct {
	Action Action
	Quiet  bool   // Check prints only errors and warnings
	Config Config // checked; the zero Config unless Action is Serve or Check and there was no error
	Notes  []Note // also there when there was an error
}

// Parse reads arguments (without the program's name) and an environment ("NAME=value" entries). begun tells what the data
// directory was begun as, since that decides which flags have an effect; nil: it is fresh. The error, if any, is an *Error
// with every fault found; Action is known even then.
func Parse(argv, environ []string, begun func(Config) Begun) (Invocation, error) {
	p := newParser(variablePrefix)
	p.draft, p.groups = newDraft()
	p.draft.begun = begun
	p.defineAll()
	switch action := p.arguments(argv); {
	case action == Help:
		return Invocation{Action: Help}, nil
	case action == Version && len(p.faults) == 0:
		return Invocation{Action: Version}, nil
	default:
		p.environment(environ)
		return p.finish(action)
	}
}

// parser reads the two inputs into a draft, and collects faults and notes.
type parser struct {
	draft  *draft
	groups []group
	prefix string         // of the variables
	rows   map[string]row // by flag name
	flags  *pflag.FlagSet
	faults []Fault
	notes  []Note
}

func newParser(prefix string) *parser {
	p := &parser{prefix: prefix, rows: map[string]row{}, flags: pflag.NewFlagSet("canopy", pflag.ContinueOnError)}
	p.flags.SetOutput(io.Discard)
	p.flags.Usage = func() {}
	return p
}

// defineAll makes the flags of all groups known.
func (p *parser) defineAll() {
	for _, g := range p.groups {
		for _, r := range g.rows {
			p.define(r)
		}
	}
}

func (p *parser) define(r row) {
	p.rows[r.name] = r
	f := p.flags.VarPF(r.value, r.name, "", r.usage)
	if r.value.Type() == "bool" {
		f.NoOptDefVal = "true"
	}
}

// lookup finds a flag by name. It defines flags that are ignored by their prefix at their first use.
func (p *parser) lookup(name string) (row, bool) {
	r, ok := p.rows[name]
	if !ok && ignoredByPrefix(name) {
		r, ok = ignoredRow(name), true
		p.define(r)
	}
	return r, ok
}

// arguments reads the command line up to the first -h or --help that no fault precedes. Words that belong to no flag
// are faults (F4). What follows them is read, too, so that all faults are found.
func (p *parser) arguments(argv []string) Action {
	for len(argv) > 0 {
		word := argv[0]
		if word == "--" {
			p.leftOver(argv[1:]...)
			break
		}
		if len(word) < 2 || word[0] != '-' {
			p.leftOver(word)
			argv = argv[1:]
			continue
		}
		item, rest := p.item(argv)
		argv = rest
		err := p.flags.Parse(item)
		p.given(item, err)
		if p.on("help") && len(p.faults) == 0 {
			return Help
		}
	}
	switch {
	case p.on("version"):
		return Version
	case p.on("check-config"):
		return Check
	}
	return Serve
}

// on reports whether a flag that asks for an action was given.
func (p *parser) on(name string) bool {
	r, known := p.rows[name]
	return known && r.value.String() != "false"
}

// item cuts the next flag and its value off argv, in the form pflag wants: two dashes (F1), and no word that is not the
// flag's own. Ignored flags swallow one word that does not look like a flag (F16).
func (p *parser) item(argv []string) (item, rest []string) {
	body := strings.TrimPrefix(strings.TrimPrefix(argv[0], "-"), "-")
	if body == "h" {
		body = "help"
	}
	name, _, inline := strings.Cut(body, "=")
	item, rest = []string{"--" + body}, argv[1:]
	r, known := p.lookup(name)
	switch {
	case !known || inline || r.value.Type() == "bool":
	case r.ignored:
		item[0] += "="
		if len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
			rest = rest[1:]
		}
	case len(rest) > 0:
		item, rest = append(item, rest[0]), rest[1:]
	}
	return item, rest
}

// given records that an item of the command line was read, or why it could not be.
func (p *parser) given(item []string, err error) {
	name, text, inline := strings.Cut(strings.TrimPrefix(item[0], "--"), "=")
	if !inline && len(item) > 1 {
		text = item[1]
	}
	if err != nil {
		p.faults = append(p.faults, Fault{Flag: name, Value: redact.FlagValue(text), Source: Source{Flag: name}, Text: p.syntaxText(name, text, err),
			usage: true, invalid: errors.As(err, new(*pflag.InvalidValueError))})
	}
	p.set(name, text, Source{Flag: name})
}

// set records where a flag's value came from, and warns about an ignored flag.
func (p *parser) set(name, text string, from Source) {
	r, ok := p.rows[name]
	if !ok {
		return
	}
	if r.value.Type() == "bool" && text == "" {
		text = "true"
	}
	if r.ignored && !p.draft.sources[name].IsSet() {
		p.warn("flag %q is no longer supported - ignoring.", "-"+name)
	}
	p.draft.sources[name] = from
	p.draft.given[name] = redact.FlagValue(text)
}

// syntaxText is the text of the reference for a flag that does not parse, and what is allowed (F3, F15, F18).
func (p *parser) syntaxText(name, text string, err error) string {
	var (
		unknown   *pflag.NotExistError
		missing   *pflag.ValueRequiredError
		invalid   *pflag.InvalidValueError
		malformed *pflag.InvalidSyntaxError
	)
	switch {
	case errors.As(err, &unknown):
		return "flag provided but not defined: -" + name
	case errors.As(err, &missing):
		return "flag needs an argument: -" + name
	case errors.As(err, &invalid):
		return p.valueText(p.rows[name], text, "flag -"+name, invalid.Unwrap())
	case errors.As(err, &malformed):
		return "bad flag syntax: " + malformed.GetSpecifiedFlag()
	}
	return err.Error()
}

// valueText is the text for an invalid value of a known flag; where is the flag or the variable.
func (p *parser) valueText(r row, text, where string, err error) string {
	text = redact.FlagValue(text)
	switch {
	case r.removed:
		return fmt.Sprintf("flag %q is no longer supported.", "-"+r.name)
	case r.value.Type() == "bool":
		what := strings.TrimPrefix(where, "flag ")
		return fmt.Sprintf("invalid boolean value %q for %s: %v (allowed: %s)", text, what, err, r.value.Allowed())
	}
	return fmt.Sprintf("invalid value %q for %s: %v (allowed: %s)", text, where, err, r.value.Allowed())
}

func (p *parser) leftOver(words ...string) {
	for _, word := range words {
		text := fmt.Sprintf("error verifying flags, '%s' is not a valid flag. See 'canopy --help'.", redact.FlagValue(word))
		p.faults = append(p.faults, Fault{Value: redact.FlagValue(word), Text: text})
	}
}

func (p *parser) warn(format string, args ...any) {
	p.notes = append(p.notes, Note{Warning: true, Text: fmt.Sprintf(format, args...)})
}

// finish works out aliases and derived defaults, and checks the whole.
func (p *parser) finish(action Action) (Invocation, error) {
	invocation := Invocation{Action: action, Quiet: p.rows["check-config"].value.String() == "quiet"}
	p.draft.resolve()
	p.draft.findModes()
	p.overlook()
	faults, warnings := p.draft.verify(p.groups)
	p.faults, p.notes = append(p.faults, faults...), append(p.notes, warnings...)
	if len(p.faults) > 0 {
		invocation.Notes = p.notes
		return invocation, p.failure(action)
	}
	invocation.Notes = append(p.notes, p.draft.remarks(p.groups)...)
	p.draft.proxying = p.draft.modes == proxying
	p.draft.settings = p.draft.list(p.groups)
	invocation.Config = p.draft.Config
	return invocation, nil
}

// overlook turns faults of values into warnings if the flag has no effect.
func (p *parser) overlook() {
	p.faults = slices.DeleteFunc(p.faults, func(f Fault) bool {
		r := p.rows[f.Flag]
		if !f.invalid || r.removed || p.draft.matters(r) {
			return false
		}
		delete(p.draft.sources, f.Flag)
		delete(p.draft.given, f.Flag)
		p.warn("--%s is ignored, since it has no effect %s: %s", f.Flag, p.draft.where(), f.Text)
		return true
	})
}

// failure is the error of all faults. --check-config exits with 1 for every fault (F61).
func (p *parser) failure(action Action) error {
	e := &Error{Faults: p.faults, Exit: exitRefused}
	if action != Check && slices.ContainsFunc(p.faults, func(f Fault) bool { return f.usage }) {
		e.Exit = exitUsage
	}
	return e
}
