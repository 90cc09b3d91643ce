package pending

import (
	"testing"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/store"
)

// request encodes a Request as a member forwards it.
func request(t *testing.T, r *pb.Request, id uint64) []byte {
	t.Helper()
	data, err := EncodeRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	Proposal{Data: data}.setID(id)
	return data
}

func setCommand(t *testing.T) []byte {
	t.Helper()
	key, err := store.ParseKey("/k")
	if err != nil {
		t.Fatal(err)
	}
	command, err := store.EncodeCommand(nil, store.Set{Key: key, Value: "v"})
	if err != nil {
		t.Fatal(err)
	}
	return command
}

// Only a request that a member could have made gets into the log.
func TestForwardedRequestsAreChecked(t *testing.T) {
	good := request(t, &pb.Request{Session: 7, Kind: &pb.Request_Command{Command: setCommand(t)}}, 3)
	if err := CheckForwarded(good); err != nil {
		t.Errorf("a good request: %v", err)
	}
	publication := request(t, &pb.Request{Session: 7, Kind: &pb.Request_Publish{Publish: &pb.Attributes{Member: 1}}}, 3)
	if err := CheckForwarded(publication); err != nil {
		t.Errorf("a publication: %v", err)
	}
	for name, data := range map[string][]byte{
		"nothing":                      nil,
		"half a request":               good[:len(good)/2],
		"no id":                        good[:len(good)-idRoom],
		"id 0":                         request(t, &pb.Request{Session: 7, Kind: &pb.Request_Command{Command: setCommand(t)}}, 0),
		"no session":                   request(t, &pb.Request{Kind: &pb.Request_Command{Command: setCommand(t)}}, 3),
		"no command":                   request(t, &pb.Request{Session: 7}, 3),
		"a bad command":                request(t, &pb.Request{Session: 7, Kind: &pb.Request_Command{Command: []byte("\xff\xff")}}, 3),
		"a leader's opening":           request(t, &pb.Request{Session: 7, Kind: &pb.Request_NewLeader{NewLeader: true}}, 3),
		"a check":                      request(t, &pb.Request{Session: 7, Kind: &pb.Request_Check{Check: true}}, 3),
		"an opening and a command":     append([]byte{6 << 3, 1}, good...),
		"an opening and a publication": append([]byte{6 << 3, 1}, publication...),
		"a time":                       request(t, &pb.Request{Session: 7, Time: 9, Kind: &pb.Request_Command{Command: setCommand(t)}}, 3),
		"a version":                    request(t, &pb.Request{Session: 7, Kind: &pb.Request_ClusterVersion{ClusterVersion: "9.0.0"}}, 3),
	} {
		if err := CheckForwarded(data); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
