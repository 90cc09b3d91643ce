package rafthttp

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"canopy/raft"
)

// Reason is why a connection is refused.
type Reason uint8

// The reasons, and their statuses.
const (
	OtherCluster     Reason = iota + 1 // 412: the member belongs to another cluster
	NotYou                             // 412: the member that was dialled has another id
	Unknown                            // 404: the dialling member is not in the configuration yet; it tries again
	Removed                            // 410: the dialling member was removed from the cluster, by the entry that Refusal names
	OtherIncarnation                   // 409: the dialling member is known by another incarnation: it has lost its data
	NotMyIncarnation                   // 409: the dialling member expects another incarnation of this one
	TooOld                             // 412: the dialling member speaks only older versions of the protocol
	TooNew                             // 412: the dialling member speaks only newer ones
)

// reasons are the names on the wire, with their statuses.
var reasons = map[Reason]struct {
	name   string
	status int
}{
	OtherCluster:     {"other cluster", http.StatusPreconditionFailed},
	NotYou:           {"not the member you mean", http.StatusPreconditionFailed},
	Unknown:          {"unknown member", http.StatusNotFound},
	Removed:          {"removed member", http.StatusGone},
	OtherIncarnation: {"other incarnation of you", http.StatusConflict},
	NotMyIncarnation: {"other incarnation of me", http.StatusConflict},
	TooOld:           {"too old", http.StatusPreconditionFailed},
	TooNew:           {"too new", http.StatusPreconditionFailed},
}

// Reasons are all reasons, in a few words each.
func Reasons() []string {
	var names []string
	for _, known := range reasons {
		names = append(names, known.name)
	}
	return names
}

// String gives the reason in a few words.
func (r Reason) String() string {
	if known, ok := reasons[r]; ok {
		return known.name
	}
	return "unknown reason"
}

// grace is how long a refusal for this reason may last before there is a warning.
func (r Reason) grace() time.Duration {
	if r == Unknown {
		return unknownGrace
	}
	return 0
}

// MarshalText gives the name on the wire.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText parses it.
func (r *Reason) UnmarshalText(text []byte) error {
	for reason, known := range reasons {
		if known.name == string(text) {
			*r = reason
			return nil
		}
	}
	return fmt.Errorf("rafthttp: %.40q is not a known reason", text)
}

// Refusal is a typed reason not to talk. The other side gets all of it. Both sides log it once per peer, reason and minute (R31).
type Refusal struct {
	Reason Reason     `json:"reason"`
	Text   string     `json:"message"`         // for people
	Term   raft.Term  `json:"term,omitempty"`  // with Removed: of the entry that removed the member
	Index  raft.Index `json:"index,omitempty"` // with Removed: of that entry
}

// Error makes a Refusal an error.
func (r *Refusal) Error() string {
	if r.Text == "" {
		return r.Reason.String()
	}
	return r.Reason.String() + ": " + r.Text
}

func (r *Refusal) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	status := reasons[r.Reason].status
	if status == 0 {
		status = http.StatusForbidden
	}
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(r); err != nil {
		return // the connection has failed
	}
}

// refusalBytesMax bounds how much of an unsuccessful answer is read.
const refusalBytesMax = 4 << 10

// readRefusal gives the reason of an unsuccessful answer: a *Refusal, or the text of the answer.
func readRefusal(status string, body io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(body, refusalBytesMax))
	if err != nil {
		return fmt.Errorf("the answer %.60q broke off: %w", status, err)
	}
	if strings.HasPrefix(string(text), textOfTLSPort) {
		return errTLSPort
	}
	var r Refusal
	if err := json.Unmarshal(text, &r); err != nil || r.Reason == 0 {
		return fmt.Errorf("answered %.60q, %.300q", status, text)
	}
	if len(r.Text) > 500 {
		r.Text = r.Text[:500]
	}
	return &r
}
