// Package report is what a migration tells of what it has found, taken and left out (G57).
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Report is what was found and done. Times are RFC 3339; an empty one is not known.
type Report struct {
	Kind          string    `json:"kind"`
	Source        string    `json:"source"`
	EtcdVersion   string    `json:"version,omitempty"`
	Cluster       string    `json:"cluster,omitempty"`
	Members       []Member  `json:"members,omitempty"`
	Snapshot      string    `json:"snapshot,omitempty"`
	PassedOver    []string  `json:"snapshotsPassedOver,omitempty"`
	Entries       Entries   `json:"entries"`
	LastTerm      uint64    `json:"lastTerm"`
	LastIndex     uint64    `json:"lastIndex"`
	Commit        uint64    `json:"commit"`
	Cut           *Cut      `json:"cut,omitempty"`
	Keys          uint64    `json:"keys"`
	Directories   uint64    `json:"directories"`
	Bytes         uint64    `json:"bytes"`
	WithTTL       uint64    `json:"keysWithTTL"`
	Now           string    `json:"now,omitempty"`
	Replaced      uint64    `json:"valuesWithReplacedBytes,omitempty"`
	Users         int       `json:"users"`
	Roles         int       `json:"roles"`
	AuthOn        bool      `json:"authEnabled"`
	Index         uint64    `json:"index"`
	History       [2]uint64 `json:"history"`
	LeftOut       []string  `json:"leftOut,omitempty"`
	Notes         []string  `json:"notes,omitempty"`
	FormatVersion uint64    `json:"formatVersion,omitempty"`
	Program       string    `json:"program,omitempty"`
	Checksum      string    `json:"sha256,omitempty"`
}

// Member is a member of the source.
type Member struct {
	ID         string   `json:"id"`
	Name       string   `json:"name,omitempty"`
	PeerURLs   []string `json:"peerURLs,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
}

// Entries counts those of a log.
type Entries struct {
	Read    uint64 `json:"read"`
	Applied uint64 `json:"applied"`
	Refused uint64 `json:"refused"` // that failed when they were applied, as they did then
}

// Cut is a torn end of a file that was left out.
type Cut struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
}

// Leave notes what is not taken over.
func (r *Report) Leave(format string, args ...any) {
	r.LeftOut = append(r.LeftOut, fmt.Sprintf(format, args...))
}

// Note tells what an operator may want to know.
func (r *Report) Note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Partial tells whether something was left out or cut.
func (r *Report) Partial() bool { return r.Cut != nil || len(r.LeftOut) > 0 }

// JSON writes the report as one JSON object.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Text writes the report for people.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	line("source", "%s, %s", r.Source, r.Kind)
	if r.EtcdVersion != "" {
		line("version", "%s", r.EtcdVersion)
	}
	if r.Program != "" {
		line("written by", "canopy %s, format %d", r.Program, r.FormatVersion)
	}
	if r.Cluster != "" {
		line("cluster", "%s", r.Cluster)
	}
	for _, m := range r.Members {
		line("member", "%s %s %s", m.ID, m.Name, strings.Join(m.PeerURLs, ","))
	}
	if r.Snapshot != "" {
		line("snapshot", "%s", r.Snapshot)
	}
	for _, s := range r.PassedOver {
		line("passed over", "%s", s)
	}
	if r.Entries.Read > 0 || r.LastIndex > 0 {
		line("log", "%d entries read, %d applied, %d of them failed as they did then; it ends at %d of term %d, committed up to %d",
			r.Entries.Read, r.Entries.Applied, r.Entries.Refused, r.LastIndex, r.LastTerm, r.Commit)
	}
	if r.Cut != nil {
		line("cut", "%d bytes at the end of %s, from byte %d on", r.Cut.Bytes, r.Cut.File, r.Cut.Offset)
	}
	line("keys", "%d keys and %d directories, %d bytes; %d have a TTL", r.Keys, r.Directories, r.Bytes, r.WithTTL)
	if r.Now != "" {
		line("now", "%s, from which remaining TTLs count", r.Now)
	}
	if r.Replaced > 0 {
		line("replaced", "%d values hold U+FFFD: their bytes may have been lost in the source", r.Replaced)
	}
	line("users", "%d users, %d roles, checks are %s", r.Users, r.Roles, map[bool]string{true: "on", false: "off"}[r.AuthOn])
	line("index", "%d, history from %d to %d", r.Index, r.History[0], r.History[1])
	for _, s := range r.LeftOut {
		line("left out", "%s", s)
	}
	for _, s := range r.Notes {
		line("note", "%s", s)
	}
	if r.Checksum != "" {
		line("sha256", "%s", r.Checksum)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Time shows nanoseconds since 1970; 0 is not known.
func Time(ns int64) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
}
