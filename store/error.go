package store

import "fmt"

// Code is an error number of the v2 API (errors.md, E9-E28). The API layer returns codes from 200 to 299, except
// CodeTTLNotNumber; they are here so that all numbers are in one place.
type Code int

// The codes in use. All other numbers that v2 clients may know (103, 106, 109, 200, 204-208, 301, 400, 402-404, 500) are
// reserved and never sent (E28).
const (
	CodeKeyNotFound      Code = 100
	CodeCompareFailed    Code = 101
	CodeNotFile          Code = 102
	CodeNotDir           Code = 104
	CodeExists           Code = 105
	CodeRootReadOnly     Code = 107
	CodeDirNotEmpty      Code = 108
	CodeUnauthorized     Code = 110
	CodePrevValueEmpty   Code = 201
	CodeTTLNotNumber     Code = 202
	CodeIndexNotNumber   Code = 203
	CodeInvalidField     Code = 209
	CodeInvalidForm      Code = 210
	CodeRefreshWithValue Code = 211
	CodeRefreshNoTTL     Code = 212
	CodeRaftInternal     Code = 300
	CodeHistoryCleared   Code = 401
)

// Message is the fixed text of a code, as clients see it.
func (c Code) Message() string {
	switch c {
	case CodeKeyNotFound:
		return "Key not found"
	case CodeCompareFailed:
		return "Compare failed"
	case CodeNotFile:
		return "Not a file"
	case CodeNotDir:
		return "Not a directory"
	case CodeExists:
		return "Key already exists"
	case CodeRootReadOnly:
		return "Root is read only"
	case CodeDirNotEmpty:
		return "Directory not empty"
	case CodeUnauthorized:
		return "The request requires user authentication"
	case CodePrevValueEmpty:
		return "PrevValue is Required in POST form"
	case CodeTTLNotNumber:
		return "The given TTL in POST form is not a number"
	case CodeIndexNotNumber:
		return "The given index in POST form is not a number"
	case CodeInvalidField:
		return "Invalid field"
	case CodeInvalidForm:
		return "Invalid POST form"
	case CodeRefreshWithValue:
		return "Value provided on refresh"
	case CodeRefreshNoTTL:
		return "A TTL must be provided on refresh"
	case CodeRaftInternal:
		return "Raft Internal Error"
	case CodeHistoryCleared:
		return "The event in requested index is outdated and cleared"
	}
	return "Unknown error"
}

// Error is the error of a command, a read or a watch.
type Error struct {
	Code  Code
	Cause string // details for clients, such as a key or a comparison; may be empty
	Index Index  // the store index when it happened; 0 for CodeTTLNotNumber, which is a malformed request (E6, K89)
}

// Error has code, message and cause in one line.
func (e *Error) Error() string {
	if e.Cause == "" {
		return fmt.Sprintf("store: %d: %s", e.Code, e.Code.Message())
	}
	return fmt.Sprintf("store: %d: %s: %s", e.Code, e.Code.Message(), e.Cause)
}
