package config

import (
	"fmt"
	"strings"

	"canopy/internal/redact"
)

// variablePrefix begins the names of all variables. It is the prefix of the reference, so that unit files still work (F6).
const variablePrefix = "ETCD_"

// environment reads the variables whose flag was not given. As in any process, the first of two equal names counts.
func (p *parser) environment(environ []string) {
	seen := map[string]bool{}
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, p.prefix) || seen[name] {
			continue
		}
		seen[name] = true
		p.variable(name, text)
	}
}

// variable reads one variable. An empty one counts as not set (F8); asking for help or the version is for flags only
// (F12); ETCD_UNSUPPORTED_ARCH, which the reference reads without having a flag for it, is not needed here (F44).
func (p *parser) variable(name, text string) {
	r, known := p.variableRow(name)
	switch {
	case name == "ETCD_UNSUPPORTED_ARCH":
	case !known:
		p.warn("unrecognized environment variable %s%s", name, p.suggestion(name)) // its value may be a secret of another program
	case text == "":
	case p.draft.sources[r.name].IsSet():
		p.inform("recognized environment variable %s, but unused: shadowed by corresponding flag", name)
	case r.command != Serve:
		p.inform("recognized environment variable %s, but unused: it works as a flag only", name)
	default:
		from := Source{Variable: name}
		if err := r.value.Set(text); err != nil {
			p.faults = append(p.faults, Fault{Flag: r.name, Value: redact.FlagValue(text), Source: from, Text: p.valueText(r, text, name, err), invalid: true})
		} else {
			p.inform("recognized and used environment variable %s=%s", name, redact.FlagValue(text))
		}
		p.set(r.name, text, from)
	}
}

// suggestion names the variable that a misspelt one may stand for.
func (p *parser) suggestion(name string) string {
	for _, g := range p.groups {
		for _, r := range g.rows {
			known := p.prefix + strings.ToUpper(strings.ReplaceAll(r.name, "-", "_"))
			if len(r.name) > 2*typosMax && r.command == Serve && distance(name, known) <= typosMax {
				return "; is " + known + " meant?"
			}
		}
	}
	return ""
}

// typosMax is how many letters may be wrong, missing or too many in a name that is still taken for a misspelt one.
const typosMax = 2

// distance counts the letters to change, add or leave out, to turn one text into another (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// variableRow finds the flag of a variable. In the reference only names of ignored flags have capitals, so lower case finds all
// others.
func (p *parser) variableRow(name string) (row, bool) {
	flag := strings.TrimPrefix(name, p.prefix)
	return p.lookup(strings.ReplaceAll(strings.ToLower(flag), "_", "-"))
}

func (p *parser) inform(format string, args ...any) {
	p.notes = append(p.notes, Note{Text: fmt.Sprintf(format, args...)})
}
