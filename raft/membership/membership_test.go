package membership

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ids(list ...MemberID) []MemberID { return list }

func TestConfigurationWith(t *testing.T) {
	full := Configuration{}
	for id := range MemberID(MembersMax) {
		full.Voters = append(full.Voters, id+1)
	}
	for _, c := range []struct {
		name string
		from Configuration
		op   ConfChangeOp
		id   MemberID
		want Configuration
		err  error
	}{
		{"first voter", Configuration{}, AddVoter, 3, Configuration{Voters: ids(3)}, nil},
		{"voters stay sorted", Configuration{Voters: ids(1, 5)}, AddVoter, 3, Configuration{Voters: ids(1, 3, 5)}, nil},
		{"learner", Configuration{Voters: ids(1)}, AddLearner, 3, Configuration{Voters: ids(1), Learners: ids(3)}, nil},
		{"promotion", Configuration{Voters: ids(5), Learners: ids(3)}, Promote, 3, Configuration{Voters: ids(3, 5), Learners: ids()}, nil},
		{"removal of a voter", Configuration{Voters: ids(1, 2)}, Remove, 1, Configuration{Voters: ids(2)}, nil},
		{"removal of a learner", Configuration{Voters: ids(1), Learners: ids(2, 3)}, Remove, 2, Configuration{Voters: ids(1), Learners: ids(3)}, nil},
		{"context", Configuration{Voters: ids(1)}, UpdateContext, 1, Configuration{Voters: ids(1)}, nil},
		{"voter added twice", Configuration{Voters: ids(1)}, AddVoter, 1, Configuration{}, ErrMemberExists},
		{"learner added as voter", Configuration{Voters: ids(1), Learners: ids(2)}, AddVoter, 2, Configuration{}, ErrMemberExists},
		{"promotion of a voter", Configuration{Voters: ids(1)}, Promote, 1, Configuration{}, ErrNotLearner},
		{"promotion of nobody", Configuration{Voters: ids(1)}, Promote, 2, Configuration{}, ErrNoSuchMember},
		{"removal of nobody", Configuration{Voters: ids(1)}, Remove, 2, Configuration{}, ErrNoSuchMember},
		{"removal of the last voter", Configuration{Voters: ids(1), Learners: ids(2)}, Remove, 1, Configuration{}, ErrLastVoter},
		{"context of nobody", Configuration{Voters: ids(1)}, UpdateContext, 2, Configuration{}, ErrNoSuchMember},
		{"member 0", Configuration{}, AddVoter, None, Configuration{}, ErrNoSuchMember},
		{"unknown change", Configuration{Voters: ids(1)}, 9, 1, Configuration{}, ErrBadConfChange},
		{"too many", full, AddLearner, 1000, Configuration{}, ErrTooManyMembers},
	} {
		got, err := c.from.With(ConfChange{Op: c.op, Member: c.id})
		if !errors.Is(err, c.err) {
			t.Errorf("%s: error = %v, want %v", c.name, err, c.err)
		}
		if err == nil && !got.Equal(c.want) {
			t.Errorf("%s: With = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestConfChangeIsReadAsItWasWritten(t *testing.T) {
	for _, c := range []ConfChange{
		{Op: AddVoter, Member: 1},
		{Op: AddLearner, Member: 1 << 63, Context: []byte("{}")},
		{Op: UpdateContext, Member: 7, Context: bytes.Repeat([]byte{0}, ContextBytesMax)},
	} {
		b, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeConfChange(b)
		if diff := cmp.Diff(c, got); err != nil || diff != "" {
			t.Errorf("DecodeConfChange(Encode(%v %d)): %v (-want +got)\n%s", c.Op, c.Member, err, diff)
		}
	}
}

// The format is frozen: logs written by former versions hold these bytes.
func TestConfChangeFormat(t *testing.T) {
	got, err := ConfChange{Op: Remove, Member: 0x0102, Context: []byte("ab")}.Encode()
	if want := "\x01\x04\x00\x00\x00\x00\x00\x00\x01\x02ab"; err != nil || string(got) != want {
		t.Errorf("Encode = %q, %v, want %q", got, err, want)
	}
}

func TestMalformedConfChanges(t *testing.T) {
	for _, c := range []struct{ name, data string }{
		{"nothing", ""},
		{"cut off", "\x01\x01\x00\x00\x00\x00\x00\x00\x01"},
		{"unknown version", "\x02\x01\x00\x00\x00\x00\x00\x00\x00\x01"},
		{"unknown change", "\x01\x06\x00\x00\x00\x00\x00\x00\x00\x01"},
		{"change 0", "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01"},
		{"member 0", "\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"too long", "\x01\x01\x00\x00\x00\x00\x00\x00\x00\x01" + string(make([]byte, ContextBytesMax+1))},
	} {
		if got, err := DecodeConfChange([]byte(c.data)); !errors.Is(err, ErrBadConfChange) {
			t.Errorf("%s: DecodeConfChange = %v, %v, want ErrBadConfChange", c.name, got, err)
		}
	}
	for _, c := range []ConfChange{{}, {Op: AddVoter}, {Op: 9, Member: 1}, {Op: AddVoter, Member: 1, Context: make([]byte, ContextBytesMax+1)}} {
		if _, err := c.Encode(); !errors.Is(err, ErrBadConfChange) {
			t.Errorf("Encode of op %d, member %d, %d bytes: %v, want ErrBadConfChange", c.Op, c.Member, len(c.Context), err)
		}
	}
}

func FuzzDecodeConfChange(f *testing.F) {
	f.Add([]byte("\x01\x04\x00\x00\x00\x00\x00\x00\x01\x02ab"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeConfChange(b)
		if err != nil {
			return
		}
		if again, err := c.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q is read as %v, which is written as %q, %v", b, c, again, err)
		}
	})
}
