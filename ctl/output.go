package ctl

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"canopy/client"
)

// eventJSON and nodeJSON are the form of -o json, with its order of fields (C26).
type eventJSON struct {
	Action   string    `json:"action"`
	Node     *nodeJSON `json:"node"`
	PrevNode *nodeJSON `json:"prevNode"`
}

type nodeJSON struct {
	Key        string      `json:"key"`
	Dir        bool        `json:"dir,omitempty"`
	Value      string      `json:"value"`
	Nodes      []*nodeJSON `json:"nodes"`
	Created    uint64      `json:"createdIndex"`
	Modified   uint64      `json:"modifiedIndex"`
	Expiration *time.Time  `json:"expiration,omitempty"`
	TTL        int64       `json:"ttl,omitempty"`
}

func toNodeJSON(n *client.Node) *nodeJSON {
	if n == nil {
		return nil
	}
	j := &nodeJSON{Key: n.Key, Dir: n.Dir, Value: n.Value, Created: n.CreatedIndex, Modified: n.ModifiedIndex, Expiration: n.Expiration, TTL: n.TTL}
	for _, child := range n.Nodes {
		j.Nodes = append(j.Nodes, toNodeJSON(child))
	}
	return j
}

// json prints one line of JSON.
func (s *session) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	s.printf("%s\n", b)
	return nil
}

// event prints the answer of one key, or one event (section 5 of C).
func (s *session) event(r *client.Response) error {
	switch s.output {
	case formatJSON:
		return s.json(eventJSON{r.Action, toNodeJSON(r.Node), toNodeJSON(r.PrevNode)})
	case formatExtended:
		s.extended(r)
	default:
		s.simple(r)
	}
	return nil
}

// isRemoval tells whether the value is gone after an action.
func isRemoval(action string) bool {
	return action == "delete" || action == "compareAndDelete" || action == "expire"
}

func (s *session) simple(r *client.Response) {
	switch {
	case !isRemoval(r.Action):
		s.printf("%s\n", r.Node.Value)
	case r.PrevNode != nil:
		s.printf("PrevNode.Value: %s\n", r.PrevNode.Value) // C24
	default:
		s.printf("\n")
	}
}

func (s *session) extended(r *client.Response) {
	s.printf("Key: %s\nCreated-Index: %d\nModified-Index: %d\n", r.Node.Key, r.Node.CreatedIndex, r.Node.ModifiedIndex)
	if r.PrevNode != nil {
		s.printf("PrevNode.Value: %s\n", r.PrevNode.Value)
	}
	s.printf("TTL: %d\nIndex: %d\n", r.Node.TTL, r.Index)
	if !isRemoval(r.Action) {
		s.printf("\n%s\n", r.Node.Value)
	}
}

// directory prints the answer for a directory: nothing, but in JSON (C27).
func (s *session) directory(r *client.Response) error {
	if s.output == formatJSON {
		return s.event(r)
	}
	return nil
}

// table prints rows below a head.
func (s *session) table(head []string, rows [][]string) error {
	t := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// list prints names: one a line, a table, or JSON.
func (s *session) list(head string, names []string) error {
	switch s.output {
	case formatJSON:
		return s.json(append([]string{}, names...))
	case formatTable:
		var rows [][]string
		for _, name := range names {
			rows = append(rows, []string{name})
		}
		return s.table([]string{head}, rows)
	}
	for _, name := range names {
		s.printf("%s\n", name)
	}
	return nil
}
