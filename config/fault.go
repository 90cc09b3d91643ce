package config

import (
	"strings"
)

// Exit statuses of a refused start (F41).
const (
	exitRefused = 1 // a value that parses but is not allowed
	exitUsage   = 2 // a command line that cannot be parsed
)

// Fault is one fault of the flags or variables.
type Fault struct {
	Flag   string // the flag's name without dashes; "" for a left-over word
	Value  string // as given, or the effective one for a default
	Source Source
	Text   string // the whole line for people: what was found, where, and what is allowed

	invalid bool // the value of a known flag does not parse
	usage   bool // the command line cannot be parsed
}

// Error has all faults of one command line and environment (F29). It is always returned as a pointer.
type Error struct {
	Faults []Fault // at least one, in the order found
	Exit   int     // the exit status: 2 if the command line does not parse, else 1 (F3, F11, F41)
}

// Error is one line per fault.
func (e *Error) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.Text
	}
	return strings.Join(lines, "\n")
}

// Usage reports whether the short usage belongs on standard output after the message (F3).
func (e *Error) Usage() bool { return e.Exit == exitUsage }
