package ctl

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// askPassword asks on the terminal, without an echo; without a terminal it reads a line of standard input (C12).
func (s *session) askPassword(prompt string) (string, error) {
	terminal, err := s.OpenTerminal()
	if err != nil {
		return s.readPassword()
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
		return "", usage("the password cannot be read: %w", err)
	}
	return given(string(b))
}

func (s *session) readPassword() (string, error) {
	line, err := bufio.NewReader(io.LimitReader(s.In, 4<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", usage("the password cannot be read: %w", err)
	}
	return given(strings.TrimRight(line, "\r\n"))
}

func given(password string) (string, error) {
	if password == "" {
		return "", usage("no password is given")
	}
	return password, nil
}

// isTerminal tells whether a person reads or writes there.
func isTerminal(at any) bool {
	f, ok := at.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
