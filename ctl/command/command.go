// Package command is what the commands that etcdctl does not have share: what they get of their run, and how they fail.
// Package ctl gives them a Host; they do not know the flags and variables from which it is made.
package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"canopy/client"
)

// A Host runs a command. Its functions are called when the command line is read.
type Host struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	Format   func() string // of the output: simple, extended, json or table

	// Run makes a client and calls do, within the time for a whole command.
	Run func(ctx context.Context, do func(context.Context, *client.Client) error) error
	// RunLong is Run for work that may take long: it has a time limit only if the user has given one.
	RunLong func(ctx context.Context, do func(context.Context, *client.Client) error) error
	// Each bounds what one member is asked.
	Each func(context.Context) (context.Context, context.CancelFunc)
	// Other makes a client of another cluster.
	Other func(ctx context.Context, endpoints string) (*client.Client, error)
	// Table prints rows below a head.
	Table func(head []string, rows [][]string) error
	// OpenTerminal opens the terminal of the user. An error means that there is none.
	OpenTerminal func() (*os.File, error)
	// Again runs another command line of the same program with the same global flags, and gives its exit status.
	Again func(ctx context.Context, args []string) int
}

// Once is an annotation of commands that cannot run again in the same process.
const Once = "once"

// FormatJSON is the Format that asks for one value in JSON.
const FormatJSON = "json"

// JSON prints one line of JSON.
func (h *Host) JSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return h.Printf("%s\n", b)
}

// Printf writes to standard output.
func (h *Host) Printf(format string, args ...any) error {
	_, err := fmt.Fprintf(h.Out, format, args...)
	return err
}

// Tell writes a line to standard error.
func (h *Host) Tell(format string, args ...any) { fmt.Fprintf(h.Err, format+"\n", args...) }

// Exit is an error that only sets the exit status of the program: all is said.
type Exit int

// Error gives the status.
func (e Exit) Error() string { return "exit status " + strconv.Itoa(int(e)) }

// ExitStatus gives the status, and that nothing more is to be shown.
func (e Exit) ExitStatus() (status int, said bool) { return int(e), true }

// usageError is a fault of the command line.
type usageError struct{ error }

// ExitStatus is that of such faults.
func (usageError) ExitStatus() (status int, said bool) { return 1, false }

// Usage is the error for a fault of the command line.
func Usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Plain is a text as a terminal can show it: quoted, if it has characters that a terminal would obey.
func Plain(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
