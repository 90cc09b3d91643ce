package client

import (
	"errors"
	"fmt"
	"strings"
)

// A Code is the number of an error of the keys API. It is itself an error, for errors.Is:
//
//	if errors.Is(err, client.ErrKeyNotFound) …
type Code int

// The codes that servers send (errors.md 2.1).
const (
	ErrKeyNotFound   Code = 100 // there is no such key
	ErrCompareFailed Code = 101 // PrevValue or PrevIndex did not match
	ErrNotFile       Code = 102 // the key is a directory
	ErrNotDir        Code = 104 // a part of the path is a file
	ErrNodeExist     Code = 105 // the key must not exist, and does
	ErrRootReadOnly  Code = 107 // the root can neither be set nor deleted
	ErrDirNotEmpty   Code = 108 // the directory has children, and Recursive is false
	ErrUnauthorized  Code = 110 // name or password are wrong, or not enough
	ErrInvalidField  Code = 209 // the server does not accept this combination of options
	ErrInvalidForm   Code = 210 // the server could not parse the request, or did not receive all of it
	ErrRaftInternal  Code = 300 // the cluster could not decide without a quorum
	ErrIndexCleared  Code = 401 // the history no longer reaches back to the start of the watch
)

// Error gives the name of the code.
func (c Code) Error() string { return fmt.Sprintf("error %d of the keys API", int(c)) }

// ErrUnknownOutcome matches the error of a write that may or may not have been made: it was sent, and the answer was lost, or
// the cluster did not decide in time.
var ErrUnknownOutcome = errors.New("the outcome is unknown")

// Error is the refusal of a server. It matches its Code.
type Error struct {
	Code    Code   // 0 if it came from a part of the API other than keys
	Message string // text of the server
	Cause   string // the key, or the value that did not match
	Index   uint64 // X-Etcd-Index when it happened; 0 if the store was not asked
	Status  int    // the HTTP status
}

// Error gives the text of the server, and the cause.
func (e *Error) Error() string {
	text := e.Message
	if e.Cause != "" {
		text += " (" + e.Cause + ")"
	}
	if e.Code == 0 {
		return fmt.Sprintf("%d %s", e.Status, text)
	}
	return fmt.Sprintf("%d: %s", e.Code, text)
}

// Is makes errors.Is(err, ErrKeyNotFound) work, also for the other codes.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code && code != 0
}

// AnswerError is an answer that is not of the API: not its JSON, or too large. The server may be another program.
type AnswerError struct {
	Status int    // the HTTP status
	Type   string // the Content-Type
	Text   string // beginning of the body
	Bytes  int    // of the body that were read
	Err    error  // the fault
}

// Error tells about the answer, without its content: it goes to logs, and the server may be another one than intended.
func (e *AnswerError) Error() string {
	return fmt.Sprintf("not an answer of the API: status %d, %d bytes", e.Status, e.Bytes)
}

// Unwrap gives the reason.
func (e *AnswerError) Unwrap() error { return e.Err }

// ClusterError tells what each tried endpoint did with a request. It matches what one of those errors matches.
type ClusterError struct{ Failures []Failure }

// A Failure is the error of one endpoint.
type Failure struct {
	Endpoint string
	Err      error
}

// Error lists the endpoints.
func (e *ClusterError) Error() string {
	parts := make([]string, len(e.Failures))
	for n, f := range e.Failures {
		parts[n] = f.Endpoint + ": " + f.Err.Error()
	}
	return "client: " + strings.Join(parts, "; ")
}

// Unwrap gives the errors of all endpoints.
func (e *ClusterError) Unwrap() []error {
	all := make([]error, len(e.Failures))
	for n, f := range e.Failures {
		all[n] = f.Err
	}
	return all
}
