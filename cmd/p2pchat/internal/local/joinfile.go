package local

import (
	"context"
	"net/http"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// maxFileRequest bounds a request that carries a file: a welcome, in base64.
const maxFileRequest = protocol.MaxWelcomeFile/3*4 + 4<<10

// JoinFile is a file by which somebody joins without a network.
type JoinFile struct {
	Data     []byte `json:"data"`
	Link     string `json:"link,omitempty"`     // to ask by
	Answer   string `json:"answer,omitempty"`   // to the link's question
	Approved bool   `json:"approved,omitempty"` // a person has said yes to the request
}

// FileRequest is who asks to join which group in a file. Its state is "open" where
// nobody has to say yes.
type FileRequest struct {
	Request
	Group string `json:"group"`
}

// joinFiles are the routes by which two people join by files.
func (s *server) joinFiles(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/joinfile/request", ask(s.postRequestFile))
	mux.HandleFunc("POST /v1/joinfile/read", ask(s.postReadRequest))
	mux.HandleFunc("POST /v1/joinfile/answer", ask(s.postAnswerRequest))
	mux.HandleFunc("POST /v1/joinfile/welcome", askUpTo(maxFileRequest, s.postWelcome))
}

func (s *server) postRequestFile(ctx context.Context, in JoinFile) (JoinFile, error) {
	data, err := s.node.RequestFile(ctx, in.Link, in.Answer)
	return JoinFile{Data: data}, err
}

func (s *server) postReadRequest(_ context.Context, in JoinFile) (FileRequest, error) {
	group, q, err := s.node.ReadRequest(in.Data)
	return FileRequest{newRequest(q), group.Text(protocol.GroupPrefix)}, err
}

func (s *server) postAnswerRequest(ctx context.Context, in JoinFile) (JoinFile, error) {
	data, err := s.node.AnswerRequest(ctx, in.Data, in.Approved)
	return JoinFile{Data: data}, err
}

func (s *server) postWelcome(ctx context.Context, in JoinFile) (Group, error) {
	id, err := s.node.JoinByFile(ctx, in.Data)
	if err != nil {
		return Group{}, err
	}
	var g node.Group
	g, err = s.node.Group(id)
	return newGroup(g), err
}

// RequestFile makes a request to join by a link, as a file.
func (c *Client) RequestFile(ctx context.Context, link, answer string) ([]byte, error) {
	f, err := post[JoinFile](ctx, c, "/v1/joinfile/request", true, JoinFile{Link: link, Answer: answer})
	return f.Data, err
}

// ReadRequest says who asks to join in a file.
func (c *Client) ReadRequest(ctx context.Context, request []byte) (FileRequest, error) {
	return post[FileRequest](ctx, c, "/v1/joinfile/read", true, JoinFile{Data: request})
}

// AnswerRequest admits who asks in a file, and returns the answer as a file. Asking again
// makes another welcome for the same person.
func (c *Client) AnswerRequest(ctx context.Context, request []byte, approved bool) ([]byte, error) {
	f, err := post[JoinFile](ctx, c, "/v1/joinfile/answer", true, JoinFile{Data: request, Approved: approved})
	return f.Data, err
}

// JoinByFile joins by the answer to a request in a file.
func (c *Client) JoinByFile(ctx context.Context, welcome []byte) (Group, error) {
	return post[Group](ctx, c, "/v1/joinfile/welcome", true, JoinFile{Data: welcome})
}
