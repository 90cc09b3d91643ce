package auth

// Kind is a kind of refusal.
type Kind uint8

// The kinds of refusals.
const (
	Invalid   Kind = iota // it makes no sense
	Missing               // what it is about does not exist
	Conflict              // it contradicts what there is
	Forbidden             // it is never allowed
)

// Error is an operation that was refused. It changed nothing.
type Error struct {
	Kind    Kind
	Message string // as users see it (A22, A31)
}

// Error gives the message.
func (e *Error) Error() string { return e.Message }

// DeniedError is a request that was allowed when it was made, and is not when it is applied (A63).
type DeniedError struct{ Requester Requester }

// Error says why.
func (e *DeniedError) Error() string { return "auth: the rights of the requester have changed" }
