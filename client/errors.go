package client

import (
	"errors"
	"fmt"
	"strings"
)

// A Code is the number of an error of the keys API. It is an error itself, for errors.Is to look for:
//
//	if errors.Is(err, client.ErrKeyNotFound) …
type Code int

// The codes that servers send (errors.md 2.1).
const (
	ErrKeyNotFound   Code = 100 // there is no such key
	ErrCompareFailed Code = 101 // PrevValue or PrevIndex did not match
	ErrNotFile       Code = 102 // the key is a directory
	ErrNotDir        Code = 104 // a part of the path is a file
	ErrNodeExist     Code = 105 // the key was not to exist, and does
	ErrRootReadOnly  Code = 107 // the root can neither be set nor deleted
	ErrDirNotEmpty   Code = 108 // the directory has children, and Recursive is false
	ErrUnauthorized  Code = 110 // name or password are wrong, or not enough
	ErrInvalidField  Code = 209 // the server does not take this combination of options
	ErrInvalidForm   Code = 210 // the server could not read the request, or did not get all of it
	ErrRaftInternal  Code = 300 // the cluster could not decide, for want of a quorum
	ErrIndexCleared  Code = 401 // the history no longer reaches back to where a watch was to begin
)

// Error names the code.
func (c Code) Error() string { return fmt.Sprintf("error %d of the keys API", int(c)) }

// ErrUnknownOutcome is matched by the error of a write that may have been done and may not: it was sent, and the answer
// was lost, or the cluster did not come to a decision in time.
var ErrUnknownOutcome = errors.New("the outcome is unknown")

// Error is what a server said instead of doing what it was asked. It matches the Code it carries.
type Error struct {
	Code    Code   // 0 if it came from another part of the API than keys
	Message string // the server's words
	Cause   string // the key, or what did not match
	Index   uint64 // X-Etcd-Index when it happened; 0 if the store was not asked
	Status  int    // the HTTP status
}

// Error gives the server's words and the cause.
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

// Is makes errors.Is(err, ErrKeyNotFound) work, and so on for the other codes.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code && code != 0
}

// AnswerError is an answer that is none of the API's: not its JSON, or too large. Something else may listen there.
type AnswerError struct {
	Status int    // the HTTP status
	Type   string // the Content-Type
	Text   string // how the body begins
	Bytes  int    // of the body, as far as it was read
	Err    error  // what is wrong with it
}

// Error says what came, but nothing of its content: whoever listens there may not be who was meant, and this goes to logs.
func (e *AnswerError) Error() string {
	return fmt.Sprintf("not an answer of the API: status %d, %d bytes", e.Status, e.Bytes)
}

// Unwrap gives the reason.
func (e *AnswerError) Unwrap() error { return e.Err }

// ClusterError tells what each endpoint that was tried did with a request. It matches whatever one of those errors
// matches.
type ClusterError struct{ Failures []Failure }

// A Failure is what one endpoint did.
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
