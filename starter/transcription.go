package starter

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
)

// Publisher puts a record on Kafka and returns once all in-sync replicas have it.
type Publisher interface {
	Publish(ctx context.Context, topic string, key, value []byte, headers ...kafka.Header) (partition int32, offset int64, err error)
}

type transcriptionInput struct {
	VideoID videoIDParam `path:"videoId"`
}

type transcriptionOutput struct {
	Location string `header:"Location" doc:"Where the video's pipeline can be followed."`
	Body     TranscriptAnswer
}

// TranscriptAnswer says that a transcript was accepted.
type TranscriptAnswer struct {
	Success bool           `json:"success" doc:"Always true."`
	Message string         `json:"message"`
	Data    TranscriptView `json:"data"`
}

// TranscriptView is where an accepted transcript is until it is stored.
type TranscriptView struct {
	ID        string `json:"id" format:"uuid"`
	Topic     string `json:"topic" doc:"The record that the transcript became, and where it is."`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// putTranscription takes the one way in that there is: it checks the transcript like the bridge would, and produces it
// to the topic of results, where it is as new as any other result. When the answer is not a success, the record may be
// there all the same; sending it again does no harm.
func (s *Starter) putTranscription(ctx context.Context, in *transcriptionInput) (*transcriptionOutput, error) {
	id := in.VideoID.id
	if err := s.ownVideo(ctx, callerOf(ctx), id); err != nil {
		return nil, err
	}
	value := bodyOf(ctx)
	if err := checkTranscription(id, value); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.PublishTimeout)
	defer cancel()
	partition, offset, err := s.publisher.Publish(ctx, s.cfg.ResultTopic, []byte(id), value,
		kafka.Header{Key: contract.HeaderContentType, Value: []byte(contract.ContentTypeJSON)},
		kafka.Header{Key: contract.HeaderTimestamp, Value: strconv.AppendInt(nil, s.now().UnixMilli(), 10)})
	switch {
	case errors.Is(err, kafka.ErrTooLarge):
		return nil, problem(http.StatusRequestEntityTooLarge, "body_too_large",
			"The transcript is larger than the message broker takes.").because(err)
	case err != nil:
		return nil, unavailable("The message broker", err)
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "Kafka message sent: a transcript put in over HTTP",
		slog.String("video_id", id.String()), slog.String("user_id", callerOf(ctx).UserID), slog.String("topic", s.cfg.ResultTopic),
		slog.Int("partition", int(partition)), slog.Int64("offset", offset), slog.String("request_id", requestID(ctx)))

	return &transcriptionOutput{Location: pipelinePath(id), Body: TranscriptAnswer{
		Success: true, Message: "The transcript is accepted and will be stored.",
		Data: TranscriptView{ID: id.String(), Topic: s.cfg.ResultTopic, Partition: partition, Offset: offset},
	}}, nil
}

// checkTranscription refuses what the bridge would put to the dead letters, and what is about another video.
func checkTranscription(id contract.VideoID, value []byte) error {
	result, err := contract.DecodeTranscription([]byte(id), value)
	var poison *contract.PoisonError
	switch {
	case errors.As(err, &poison):
		return invalid(FieldProblem{Location: "body", Message: poison.Reason})
	case err != nil:
		return internalError(err)
	case result.VideoID != id:
		return invalid(FieldProblem{Location: "body.video_id", Message: "is another video's id than the path's"})
	}
	return nil
}

func pipelinePath(id contract.VideoID) string { return "/api/videos/" + id.String() + "/pipeline" }
