package pending

import (
	"encoding/binary"
	"fmt"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/outcome"
	"canopy/etcdserver/replica"
	"canopy/raft"
	"canopy/store"
)

// Proposal is an encoded request on its way into the log: a Request that ends with
// its ID, without its time, which the leader adds; or, if Change is set, a Change
// that ends with its ID.
type Proposal struct {
	Data   []byte
	Change bool
	Grows  bool       // the state may grow: there is less room for it in a List
	From   replica.ID // the member that forwarded it; 0: this one
}

// RequestMax bounds an encoded request, in bytes: a form body of 10 MiB (K14),
// its key, and what is around them.
const RequestMax = 24 << 20

// The last fields of what is encoded, ID and time, are added by hand. Protobuf messages
// merge when they are concatenated, so whoever adds a field need not know the others.
const (
	idRoom     = 9 // of a fixed64 field with its tag
	idTag      = 2<<3 | 1
	changeTag  = 5<<3 | 1
	timeRoom   = 9
	timeTag    = 1<<3 | 1
	idDistance = 8 // of the ID from the end
)

// EncodeRequest encodes a request with room for its ID and its time. The error is
// ErrTooLarge, or says that r is no valid message.
func EncodeRequest(r *pb.Request) ([]byte, error) {
	size := r.SizeVT()
	if size > RequestMax {
		return nil, outcome.ErrTooLarge
	}
	data := make([]byte, size, size+idRoom+timeRoom)
	if _, err := r.MarshalToSizedBufferVT(data); err != nil {
		return nil, err
	}
	return reserveID(data, idTag), nil
}

// EncodeCommand is EncodeRequest for a store command, as most requests are.
func EncodeCommand(command []byte, o pb.Origin) ([]byte, error) {
	size := pb.SizeOfCommand(command, o)
	if size > RequestMax {
		return nil, outcome.ErrTooLarge
	}
	data := pb.AppendCommand(make([]byte, 0, size+idRoom+timeRoom), command, o)
	return reserveID(data, idTag), nil
}

// EncodeChange encodes a change of members with room for its ID.
func EncodeChange(c *pb.Change) ([]byte, error) {
	data, err := c.MarshalVT()
	if err != nil {
		return nil, fmt.Errorf("etcdserver: encode a membership change: %w", err)
	}
	return reserveID(data, changeTag), nil
}

// EncodeOwn encodes a request of the leader itself, which has no ID.
func EncodeOwn(r *pb.Request, t store.Time) ([]byte, error) {
	data := make([]byte, r.SizeVT(), r.SizeVT()+timeRoom)
	if _, err := r.MarshalToSizedBufferVT(data); err != nil {
		return nil, err
	}
	return AppendTime(data, t), nil
}

// reserveID adds an ID that is set later.
func reserveID(data []byte, tag byte) []byte {
	return binary.LittleEndian.AppendUint64(append(data, tag), 0)
}

func (p Proposal) setID(id uint64) {
	binary.LittleEndian.PutUint64(p.Data[len(p.Data)-idDistance:], id)
}

// ID is set by List.Register.
func (p Proposal) ID() uint64 { return binary.LittleEndian.Uint64(p.Data[len(p.Data)-idDistance:]) }

// Size is the length of the data.
func (p Proposal) Size() int { return len(p.Data) }

// Clone copies the data, and leaves room for the time.
func (p Proposal) Clone() Proposal {
	p.Data = append(make([]byte, 0, len(p.Data)+timeRoom), p.Data...)
	return p
}

// AppendTime completes an encoded request with its time.
func AppendTime(data []byte, t store.Time) []byte {
	return binary.LittleEndian.AppendUint64(append(data, timeTag), uint64(t))
}

// TimeOf is the time of an entry; 0 if it has none.
func TimeOf(e raft.Entry) store.Time {
	at := len(e.Data) - timeRoom
	if e.Type != raft.EntryNormal || at < 0 || e.Data[at] != timeTag {
		return 0
	}
	return store.Time(binary.LittleEndian.Uint64(e.Data[at+1:]))
}

// CheckForwarded makes sure that a request from another member is one that a member
// makes of a command, or to publish itself.
func CheckForwarded(data []byte) error {
	var r pb.Request
	command, isCommand := r.ReadCommand(data)
	if !isCommand {
		r.Reset()
		if err := r.UnmarshalVTUnsafe(data); err != nil {
			return fmt.Errorf("a forwarded request cannot be read: %w", err)
		}
	}
	p := Proposal{Data: data}
	switch {
	case len(data) < idRoom || p.ID() != r.Id || r.Id == 0 || r.Session == 0 || len(data) > RequestMax:
		return fmt.Errorf("a forwarded request of %d bytes lacks its id", len(data))
	case r.GetNewLeader() || r.GetCheck() || r.Time != 0 || r.GetClusterVersion() != "":
		return fmt.Errorf("only the leader may make a request like the forwarded %x", r.Id)
	case !isCommand && r.SizeVT() != len(data):
		return fmt.Errorf("a forwarded request %x has several kinds", r.Id) // members of other versions could read another one
	case r.GetPublish() != nil:
		return nil
	case r.GetAuth() != nil:
		return replica.CheckOperation(r.GetAuth())
	}
	if _, err := store.DecodeCommand(command); err != nil {
		return fmt.Errorf("a forwarded request: %w", err)
	}
	return nil
}
