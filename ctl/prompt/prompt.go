// Package prompt asks a person for a password.
package prompt

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"canopy/ctl/command"
)

// Password asks on the terminal, without an echo; without a terminal it reads a line of standard input (C12).
func Password(open func() (*os.File, error), in io.Reader, prompt string) (string, error) {
	terminal, err := open()
	if err != nil {
		return readPassword(in)
	}
	defer terminal.Close()
	if _, err := io.WriteString(terminal, prompt); err != nil {
		return "", err
	}
	b, err := term.ReadPassword(int(terminal.Fd()))
	if _, writeErr := io.WriteString(terminal, "\n"); err == nil {
		err = writeErr
	}
	if err != nil {
		return "", command.Usage("the password cannot be read: %w", err)
	}
	return given(string(b))
}

func readPassword(in io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(in, 4<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", command.Usage("the password cannot be read: %w", err)
	}
	return given(strings.TrimRight(line, "\r\n"))
}

func given(password string) (string, error) {
	if password == "" {
		return "", command.Usage("no password is given")
	}
	return password, nil
}

// IsTerminal tells whether a person reads or writes there.
func IsTerminal(at any) bool {
	f, ok := at.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
