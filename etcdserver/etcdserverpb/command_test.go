package etcdserverpb

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// FuzzReadCommand: what is read as a command is what the generated code reads.
func FuzzReadCommand(f *testing.F) {
	for _, r := range requests() {
		data, err := r.MarshalVT()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
		f.Add(append(data, data...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var fast, generated Request
		command, ok := fast.ReadCommand(data)
		if !ok {
			return
		}
		if err := generated.UnmarshalVT(data); err != nil {
			t.Fatalf("%x is read as a command, and is no request: %v", data, err)
		}
		if !bytes.Equal(command, generated.GetCommand()) || fast.Time != generated.Time || fast.Id != generated.Id ||
			fast.Session != generated.Session || fast.Finished != generated.Finished || fast.Requester != generated.Requester ||
			!bytes.Equal(fast.Token, generated.Token) || fast.AuthRevision != generated.AuthRevision {
			t.Errorf("%x is read as command %x of %v, want %v", data, command, &fast, &generated)
		}
	})
}

// requests has one of each kind.
func requests() []*Request {
	return []*Request{
		{Time: 1},
		{Time: 1, Id: 2, Session: 7, Finished: 300, Kind: &Request_Command{Command: []byte("set")}},
		{Time: 1, Id: 2, Session: 7, Kind: &Request_Publish{Publish: &Attributes{Member: 9, Name: "m", ClientUrls: []string{"http://m:1"}}}},
		{Time: 1, Id: 2, Session: 7, Kind: &Request_ClusterVersion{ClusterVersion: "2.3.0"}},
		{Time: 1, Kind: &Request_NewLeader{NewLeader: true}},
		{Time: 1, Kind: &Request_Check{Check: true}},
		{Time: 1, Id: 2, Session: 7, Requester: "bob", Token: []byte{1, 2}, AuthRevision: 300, Kind: &Request_Command{Command: []byte("set")}},
		{Time: 1, Id: 2, Session: 7, Requester: "root", AuthRevision: 1, Kind: &Request_Auth{Auth: &AuthOperation{Kind: &AuthOperation_DeleteUser{DeleteUser: "bob"}}}},
	}
}

// TestCommandsAreEncodedAlike: a command has the bytes that the generated code gives it, whatever is left out.
func TestCommandsAreEncodedAlike(t *testing.T) {
	for _, c := range []Origin{{}, {Session: 7}, {Session: 7, Finished: 1 << 40}, {Session: 7, Requester: "bob", Token: []byte{1}, AuthRevision: 1 << 20}} {
		command := []byte("a command")
		data := AppendCommand(nil, command, c)
		if len(data) != SizeOfCommand(command, c) {
			t.Errorf("%+v: %d bytes, and %d were expected", c, len(data), SizeOfCommand(command, c))
		}
		var r Request
		if err := r.UnmarshalVT(data); err != nil {
			t.Fatal(err)
		}
		if string(r.GetCommand()) != string(command) || r.Session != c.Session || r.Finished != c.Finished || r.Requester != c.Requester ||
			!bytes.Equal(r.Token, c.Token) || r.AuthRevision != c.AuthRevision || r.SizeVT() != len(data) {
			t.Errorf("%+v: %v", c, &r)
		}
	}
}

// TestOldRequestsAreRead: entries as members wrote them before requests had kinds.
func TestOldRequestsAreRead(t *testing.T) {
	old := []string{
		"090100000000000000",
		"1a03736574390700000000000000" + "40ac02" + "110200000000000000" + "090100000000000000",
		"221809090000000000000012016d1a0a687474703a2f2f6d3a31" + "390700000000000000" + "110200000000000000" + "090100000000000000",
		"2a05322e332e30" + "390700000000000000" + "110200000000000000" + "090100000000000000",
		"3001" + "090100000000000000",
		"4801" + "090100000000000000",
	}
	for i, want := range requests()[:len(old)] {
		data, err := hex.DecodeString(old[i])
		if err != nil {
			t.Fatal(err)
		}
		var got Request
		if err := got.UnmarshalVTUnsafe(data); err != nil || got.String() != want.String() {
			t.Errorf("%s is read as %v, %v, want %v", old[i], &got, err, want)
		}
	}
}
