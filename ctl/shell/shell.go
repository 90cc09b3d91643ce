// Package shell is the command shell: one command line after the other, with history and completion on a terminal.
package shell

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"canopy/ctl/command"
)

// Commands is shell.
func Commands(h *command.Host) []*cobra.Command {
	return []*cobra.Command{{Use: "shell", Short: "Run one command line after the other",
		Long: "Run one command line after the other, with history (arrows) and completion (tab) on a terminal, or from standard input.\n" +
			"Words may be quoted with ' or \". A line that begins with # is skipped. exit, Ctrl-C or Ctrl-D ends it.\n" +
			"The exit status is that of the last command. The commands that move data (backup, restore, …) are not in it.",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return command.Usage("too many arguments")
			}
			r := &run{host: h, names: namesOf(c.Root())}
			if in, ok := h.In.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
				return r.interactive(c.Context())
			}
			return r.lines(c.Context())
		}}}
}

func namesOf(root *cobra.Command) (names []string) {
	for _, c := range root.Commands() {
		if _, once := c.Annotations[command.Once]; !once && !c.Hidden && c.Name() != "shell" {
			names = append(names, c.Name())
		}
	}
	return append(names, "exit")
}

// run is one shell.
type run struct {
	host   *command.Host
	names  []string
	status int
}

func (r *run) result() error {
	if r.status != 0 {
		return command.Exit(r.status)
	}
	return nil
}

// lineMax bounds a line of standard input: a value may be in it.
const lineMax = 16 << 20

// lines runs the lines of standard input.
func (r *run) lines(ctx context.Context) error {
	lines := bufio.NewScanner(r.host.In)
	lines.Buffer(nil, lineMax)
	for ctx.Err() == nil && lines.Scan() {
		if r.one(ctx, lines.Text()) {
			return r.result()
		}
	}
	if err := lines.Err(); err != nil {
		return command.Usage("standard input: %w", err)
	}
	return r.result()
}

// one runs a line, and tells whether it was the last one.
func (r *run) one(ctx context.Context, line string) (last bool) {
	words, err := Split(line)
	switch {
	case err != nil:
		r.host.Tell("Error:  %v", err)
		r.status = 1
	case len(words) == 0 || strings.HasPrefix(words[0], "#"):
	case words[0] == "exit":
		return true
	case words[0] == "shell":
		r.host.Tell("Error:  this is a shell already")
		r.status = 1
	default:
		r.status = r.host.Again(ctx, words)
	}
	return false
}

// interactive reads lines from the terminal.
func (r *run) interactive(ctx context.Context) error {
	terminal, err := r.host.OpenTerminal()
	if err != nil {
		return command.Usage("the terminal: %w", err)
	}
	defer terminal.Close()
	fd := int(terminal.Fd())
	editor := term.NewTerminal(terminal, "canopy> ")
	editor.AutoCompleteCallback = r.complete
	for {
		before, err := term.MakeRaw(fd)
		if err != nil {
			return command.Usage("the terminal: %w", err)
		}
		line, err := editor.ReadLine()
		if restoreErr := term.Restore(fd, before); restoreErr != nil {
			return command.Usage("the terminal: %w", restoreErr)
		}
		switch {
		case errors.Is(err, io.EOF):
			r.host.Tell("")
			return r.result()
		case err != nil && !errors.Is(err, term.ErrPasteIndicator):
			return command.Usage("the terminal: %w", err)
		}
		// Ctrl-C ends the command that runs, and not the shell.
		once, stop := signal.NotifyContext(context.WithoutCancel(ctx), syscall.SIGINT, syscall.SIGTERM)
		last := r.one(once, line)
		stop()
		if last {
			return r.result()
		}
	}
}

// complete completes the first word of a line.
func (r *run) complete(line string, at int, key rune) (newLine string, newAt int, ok bool) {
	typed := line[:at]
	if key != '\t' || strings.ContainsAny(typed, " \t") {
		return "", 0, false
	}
	common, count := "", 0
	for _, name := range r.names {
		if !strings.HasPrefix(name, typed) {
			continue
		}
		if count++; count == 1 {
			common = name
			continue
		}
		for !strings.HasPrefix(name, common) {
			common = common[:len(common)-1]
		}
	}
	if count == 1 {
		common += " "
	}
	if count == 0 || len(common) <= len(typed) {
		return "", 0, false
	}
	return common + line[at:], len(common), true
}

var errQuote = errors.New("a quote is not closed")

// Split splits a line at blanks, but for those in quotes. A backslash makes the next character an ordinary one, but in '…'.
func Split(line string) (words []string, err error) {
	var word strings.Builder
	var quote rune
	inWord, escaped := false, false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			inWord, escaped = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			inWord, quote = true, r
		case r == ' ' || r == '\t':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			inWord = true
			word.WriteRune(r)
		}
	}
	if quote != 0 || escaped {
		return nil, errQuote
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
