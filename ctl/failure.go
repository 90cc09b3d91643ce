package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"canopy/client"
)

// Exit statuses (section 4 of C).
const (
	exitUsage      = 1 // the command line, a file, or a refusal in the members and users commands
	exitConnection = 2 // no endpoint could be reached at the first request
	exitServer     = 4 // all other errors of requests
	exitHealth     = 5 // not all members are healthy
)

// failure is an error with an exit status, and how it is shown.
type failure struct {
	exit  int
	plain bool // without "Error:  "
	err   error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usage is a fault of the command line.
func usage(format string, args ...any) error {
	return &failure{exit: exitUsage, err: fmt.Errorf(format, args...)}
}

// plain is a failure that is shown without "Error:  ".
func plain(exit int, format string, args ...any) error {
	return &failure{exit: exit, plain: true, err: fmt.Errorf(format, args...)}
}

// exitWith ends the command with a status, and says nothing more.
func exitWith(exit int) error { return &failure{exit: exit} }

// exitStatus is an error of a further command.
type exitStatus interface {
	ExitStatus() (status int, said bool)
}

// fail shows an error, and gives the exit status.
func (s *session) fail(err error) int {
	f := &failure{exit: exitServer, err: err}
	var other exitStatus
	if errors.As(err, &other) {
		said := false
		if f.exit, said = other.ExitStatus(); said {
			f.err = nil
		}
	}
	errors.As(err, &f)
	if f.err == nil {
		return f.exit
	}
	text, details := describe(f.err)
	if !f.plain {
		text = "Error:  " + text
	}
	s.tell("%s", text)
	for _, line := range details {
		s.tell("%s", line)
	}
	if len(details) > 0 {
		s.tell("")
	}
	if s.output == formatJSON {
		s.printf("%s\n", errorJSON(f.err))
	}
	return f.exit
}

// describe gives the line of an error, and one more for each endpoint (C19).
func describe(err error) (text string, details []string) {
	var said *client.Error
	var all *client.ClusterError
	switch {
	case errors.As(err, &all):
		return describeAll(all)
	case errors.As(err, &said) && said.Code != 0:
		return fmt.Sprintf("%d: %s (%s) [%d]", int(said.Code), said.Message, said.Cause, said.Index), nil // C22
	case errors.As(err, &said):
		return said.Message, nil
	}
	return err.Error(), nil
}

func describeAll(all *client.ClusterError) (text string, details []string) {
	text = "client: etcd cluster is unavailable or misconfigured"
	if errors.Is(all, client.ErrUnknownOutcome) {
		text = "outcome unknown: the change may have been made" // C17
	}
	for n, f := range all.Failures {
		details = append(details, fmt.Sprintf("error #%d: %s", n, describeEndpoint(f)))
		if errors.Is(f.Err, context.DeadlineExceeded) && len(all.Failures) == 1 && text != "" && !errors.Is(all, client.ErrUnknownOutcome) {
			return context.DeadlineExceeded.Error(), nil // --total-timeout
		}
	}
	return text, details
}

// describeEndpoint is a detail line.
func describeEndpoint(f client.Failure) string {
	var said *client.Error
	var other *client.AnswerError
	var timeout net.Error
	switch {
	case errors.As(f.Err, &said):
		return fmt.Sprintf("client: etcd member %s: %s", f.Endpoint, said.Error())
	case errors.As(f.Err, &other):
		return fmt.Sprintf("client: etcd member %s returns server error [%s]", f.Endpoint, http.StatusText(other.Status))
	case errors.As(f.Err, &timeout) && timeout.Timeout() && strings.Contains(f.Err.Error(), "awaiting response headers"):
		return fmt.Sprintf("client: endpoint %s exceeded header timeout", f.Endpoint)
	}
	return strings.TrimPrefix(f.Err.Error(), client.ErrUnknownOutcome.Error()+": ")
}

// isUnreachable tells whether no endpoint could be asked at all.
func isUnreachable(err error) bool {
	var all *client.ClusterError
	if !errors.As(err, &all) {
		return false
	}
	for _, f := range all.Failures {
		if errors.As(f.Err, new(*client.Error)) || errors.As(f.Err, new(*client.AnswerError)) {
			return false
		}
	}
	return true
}

// refusal makes an error one of the commands for members and users: exit status 1, without "Error:  ".
func refusal(err error) error {
	if err == nil || errors.As(err, new(*failure)) || errors.As(err, new(exitStatus)) {
		return err
	}
	var said *client.Error
	if errors.As(err, &said) && said.Status == http.StatusUnauthorized {
		err = &client.Error{Status: said.Status, Message: "Insufficient credentials"} // a server may have no text for it (C48)
	}
	return &failure{exit: exitUsage, plain: true, err: err}
}

func errorJSON(err error) []byte {
	text, _ := describe(err)
	said := struct {
		Code    client.Code `json:"errorCode,omitempty"`
		Message string      `json:"message"`
		Cause   string      `json:"cause,omitempty"`
		Index   uint64      `json:"index,omitempty"`
	}{Message: text}
	var api *client.Error
	if errors.As(err, &api) && !errors.As(err, new(*client.ClusterError)) {
		said.Code, said.Message, said.Cause, said.Index = api.Code, api.Message, api.Cause, api.Index
	}
	b, encodeErr := json.Marshal(said)
	if encodeErr != nil {
		return []byte("{}") // texts and numbers can be encoded
	}
	return b
}
