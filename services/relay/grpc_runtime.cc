// SPDX-License-Identifier: Apache-2.0
// The one file of the relay that ThreadSanitizer is told to overlook (test/tsan.suppressions):
// gRPC's own library is not built for it, so every hand-over between its threads and ours looks
// like a race. Keep logic out of here.
#include "services/relay/grpc_runtime.h"

#include <grpc/grpc.h>
#include <grpcpp/alarm.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/ext/health_check_service_server_builder_option.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/channel_arguments.h>

#include <chrono>
#include <map>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "libs/base/error.h"
#include "libs/base/log.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "services/relay/forwarding.h"
#include "services/relay/frame.h"

namespace oncomesh::relay {
namespace {

static_assert(std::string_view(kNodeKey) == std::string_view(rpc::kNodeKey));
static_assert(std::string_view(kCallerKey) == std::string_view(rpc::kCallerKey));
static_assert(std::string_view(kShapeKey) == std::string_view(rpc::kShapeKey));
static_assert(std::string_view(kPermitKey) == std::string_view(rpc::kPermitKey));

// A frame is longer than its message.
constexpr int kMaxBytes = rpc::kMaxMessageBytes + static_cast<int>(kMaxFrameOverheadBytes);
constexpr int kMaxMetadataBytes = 48 << 10;  // two tokens of 16 KiB
constexpr int kMaxStreams = 4096;            // per connection; lanes of one node are far fewer
constexpr int kHandshakeMs = 10'000;
constexpr int kAcceptsAtOnce = 16;
constexpr std::chrono::seconds kStopTimeout{10};
constexpr size_t kCopyBytes = 512;  // shorter pieces are copied: cheaper than a reference

// What a completion queue hands back.
class Tag {
 public:
  virtual ~Tag() = default;
  virtual void Complete(bool ok) = 0;
};

// One kind of operation of one call. It keeps the call alive while the operation is out.
template <typename Call>
class Operation final : public Tag {
 public:
  using Done = void (Call::*)(bool ok);
  Operation(Call* call, Done done) : call_(call), done_(done) {}
  void* Begin() {
    keep_ = call_->shared_from_this();
    return tag();
  }
  void* tag() { return static_cast<Tag*>(this); }
  void Complete(bool ok) override {
    std::shared_ptr<Call> keep = std::move(keep_);
    (call_->*done_)(ok);
  }

 private:
  Call* const call_;
  const Done done_;
  std::shared_ptr<Call> keep_;
};

Message FromBuffer(const grpc::ByteBuffer& buffer) {
  auto slices = std::make_shared<std::vector<grpc::Slice>>();
  Message message;
  if (!buffer.Dump(slices.get()).ok()) return message;
  for (const grpc::Slice& slice : *slices) {
    message.Append(
        {slices, absl::string_view(reinterpret_cast<const char*>(slice.begin()), slice.size())});
  }
  return message;
}

grpc::ByteBuffer ToBuffer(const Message& message) {
  absl::InlinedVector<grpc::Slice, 4> slices;
  slices.reserve(message.pieces().size());
  for (const Message::Piece& piece : message.pieces()) {
    if (piece.bytes.size() <= kCopyBytes) {
      slices.emplace_back(piece.bytes.data(), piece.bytes.size());
    } else {
      auto* owner = new std::shared_ptr<const void>(piece.owner);
      slices.emplace_back(
          const_cast<char*>(piece.bytes.data()), piece.bytes.size(),
          [](void* held) { delete static_cast<std::shared_ptr<const void>*>(held); }, owner);
    }
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

// What goes on of metadata that came in. gRPC takes more from a connection than it lets itself be
// given (bytes that are not ASCII, capitals, an empty key), and ends the process over the rest, so
// that is left out here; `all_good` says whether anything was.
Metadata FromGrpc(const std::multimap<grpc::string_ref, grpc::string_ref>& from,
                  bool* all_good = nullptr) {
  Metadata metadata;
  metadata.reserve(from.size());
  for (const auto& [key_ref, value_ref] : from) {
    const absl::string_view key(key_ref.data(), key_ref.size());
    const absl::string_view value(value_ref.data(), value_ref.size());
    if (IsHopKey(key)) continue;
    if (!IsMetadatum(key, value)) {
      if (all_good != nullptr) *all_good = false;
      continue;
    }
    metadata.emplace_back(std::string(key), std::string(value));
  }
  return metadata;
}

std::chrono::system_clock::time_point In(absl::Duration wait) {
  return std::chrono::system_clock::now() + absl::ToChronoMicroseconds(wait);
}

// Health and reflection belong to the admin port; here they would answer in a service's place.
class NoPlugins final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    plugins->clear();
  }
};

// Who has business at a port. Others do not get a connection: an AuthMetadataProcessor, which could
// say why to each call, costs every call about as much as the rest of it (ADR 0012).
rpc::AcceptClient Accepts(GrpcRuntime::Clients clients, std::string site) {
  return [clients, site = std::move(site)](absl::string_view path) {
    absl::StatusOr<Peer> peer = PeerOfPath(path);
    if (!peer.ok()) return false;
    switch (clients) {
      case GrpcRuntime::Clients::kNodeRelays:
        return peer->kind == Peer::Kind::kNodeService && peer->service == "relay";
      case GrpcRuntime::Clients::kHubServices:
        return peer->kind == Peer::Kind::kHubService;
      case GrpcRuntime::Clients::kOwnServices:
        return peer->kind == Peer::Kind::kNodeService && peer->node == site;
      case GrpcRuntime::Clients::kAnyone:
        break;
    }
    return false;
  };
}

}  // namespace

struct GrpcRuntime::Impl {
  grpc::ServerBuilder builder;
  grpc::AsyncGenericService generic;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  std::unique_ptr<grpc::Server> server;
  std::map<std::string, std::shared_ptr<grpc::ChannelCredentials>> credentials;  // by peer
};

// A call that came in at a port.
class GrpcRuntime::ServerCall final : public IncomingCall,
                                      public std::enable_shared_from_this<ServerCall> {
 public:
  explicit ServerCall(GrpcRuntime& runtime) : runtime_(runtime) { runtime_.Born(); }
  ~ServerCall() override { runtime_.Died(); }

  void Request() {
    context_.AsyncNotifyWhenDone(closed_.tag());
    Impl& impl = *runtime_.impl_;
    impl.generic.RequestCall(&context_, &stream_, impl.queue.get(), impl.queue.get(),
                             requested_.Begin());
  }

  const CallHeader& header() const override { return header_; }
  const std::vector<std::string>& peer_uris() const override { return peer_uris_; }
  std::string peer_certificate() const override {
    const auto found =
        context_.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
    return found.size() == 1 ? std::string(found[0].data(), found[0].size()) : "";
  }
  void Observe(std::shared_ptr<Observer> observer) override { observer_ = std::move(observer); }

  void Read() override {
    if (over_) return;
    stream_.Read(&buffer_, read_.Begin());
  }

  void Send(ResponsePart part) override {
    if (over_) return;
    if (part.initial) {
      // gRPC ends the process over a second one; nobody who passes parts on may let it come here.
      if (begun_) return Cancel();
      for (const auto& [key, value] : *part.initial) context_.AddInitialMetadata(key, value);
    }
    begun_ = true;
    if (part.trailer) {
      for (const auto& [key, value] : part.trailer->metadata) {
        context_.AddTrailingMetadata(key, value);
      }
      grpc::Status status(static_cast<grpc::StatusCode>(part.trailer->code), part.trailer->message,
                          part.trailer->details);
      finishing_ = true;
      if (part.message) {
        stream_.WriteAndFinish(ToBuffer(*part.message), grpc::WriteOptions(), status,
                               finished_.Begin());
      } else {
        stream_.Finish(status, finished_.Begin());
      }
    } else if (part.message) {
      stream_.Write(ToBuffer(*part.message), sent_.Begin());
    } else {
      stream_.SendInitialMetadata(sent_.Begin());
    }
  }

  void Cancel() override {
    if (!over_) context_.TryCancel();
  }

 private:
  void OnRequested(bool ok) {
    if (!ok) return;  // the server is shutting down
    // From here on gRPC will say how the call ends, whatever happens.
    closed_.Begin();
    runtime_.Accept();
    header_.method = context_.method();
    bool all_good = true;
    header_.metadata = FromGrpc(context_.client_metadata(), &all_good);
    if (context_.deadline() != std::chrono::system_clock::time_point::max()) {
      header_.deadline = absl::FromChrono(context_.deadline());
    }
    for (const auto& [key, value] : header_.metadata) {
      if (key == kShapeKey && value == kUnary) header_.unary = true;
    }
    for (const grpc::string_ref& uri : context_.auth_context()->FindPropertyValues("peer_uri")) {
      peer_uris_.emplace_back(uri.data(), uri.size());
    }
    if (!all_good) {
      return Refuse(shared_from_this(),
                    base::Error(absl::StatusCode::kInvalidArgument, "METADATA_INVALID",
                                "a key of the call's metadata has other characters than a-z, 0-9, "
                                "'-', '_' and '.', or a value other than printable ASCII; keys of "
                                "bytes end with -bin"));
    }
    if (!IsMethod(header_.method)) {
      return Refuse(shared_from_this(),
                    base::Error(absl::StatusCode::kUnimplemented, "METHOD_UNKNOWN",
                                "no service of this site has such a method"));
    }
    runtime_.on_call_(shared_from_this());
  }

  void OnRead(bool ok) {
    if (over_ || observer_ == nullptr) return;
    std::shared_ptr<Observer> observer = observer_;
    RequestPart part;
    if (ok) {
      part.message = FromBuffer(buffer_);
      buffer_.Clear();
      part.end = header_.unary;
    } else if (grpc_call_failed_before_recv_message(context_.c_call()) != 0) {
      // The caller has not finished, it has gone: OnClosed follows. The asynchronous API reports
      // both in the same way, and its cancel event may come later; the synchronous one asks the
      // core as we do here.
      return;
    } else {
      part.end = true;
    }
    observer->OnRequest(std::move(part));
  }

  void OnSent(bool ok) {
    if (!ok || over_) return;  // OnClosed follows
    if (std::shared_ptr<Observer> observer = observer_) observer->OnSent();
  }

  void OnFinished(bool) {}  // OnEnd follows

  void OnEnd(bool) {
    over_ = true;
    bool cancelled = !finishing_ || context_.IsCancelled();
    std::shared_ptr<Observer> observer = std::move(observer_);
    observer_ = nullptr;
    if (observer != nullptr) observer->OnClosed(cancelled);
  }

  GrpcRuntime& runtime_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  grpc::ByteBuffer buffer_;
  CallHeader header_;
  std::vector<std::string> peer_uris_;
  std::shared_ptr<Observer> observer_;
  bool begun_ = false;
  bool finishing_ = false;
  bool over_ = false;
  Operation<ServerCall> requested_{this, &ServerCall::OnRequested};
  Operation<ServerCall> read_{this, &ServerCall::OnRead};
  Operation<ServerCall> sent_{this, &ServerCall::OnSent};
  Operation<ServerCall> finished_{this, &ServerCall::OnFinished};
  Operation<ServerCall> closed_{this, &ServerCall::OnEnd};
};

class GrpcRuntime::GrpcLine final : public Line, public std::enable_shared_from_this<GrpcLine> {
 public:
  GrpcLine(GrpcRuntime& runtime, const std::shared_ptr<grpc::Channel>& channel)
      : runtime_(runtime), stub_(channel) {}
  std::shared_ptr<OutgoingCall> NewCall() override;
  GrpcRuntime& runtime() { return runtime_; }
  grpc::GenericStub& stub() { return stub_; }

 private:
  GrpcRuntime& runtime_;
  grpc::GenericStub stub_;
};

// A call made over a line.
class GrpcRuntime::ClientCall final : public OutgoingCall,
                                      public std::enable_shared_from_this<ClientCall> {
 public:
  explicit ClientCall(std::shared_ptr<GrpcLine> line) : line_(std::move(line)) {
    line_->runtime().Born();
  }
  ~ClientCall() override { line_->runtime().Died(); }

  void Observe(std::shared_ptr<Observer> observer) override { observer_ = std::move(observer); }

  void Start(CallHeader header, RequestPart first) override {
    for (const auto& [key, value] : header.metadata) context_.AddMetadata(key, value);
    if (header.deadline != absl::InfiniteFuture()) {
      context_.set_deadline(absl::ToChronoTime(header.deadline));
    }
    grpc::ServerCompletionQueue* queue = line_->runtime().impl_->queue.get();
    if (header.unary) {
      unary_ =
          line_->stub().PrepareUnaryCall(&context_, header.method, ToBuffer(*first.message), queue);
      unary_->StartCall();
      unary_->Finish(&buffer_, &status_, finished_.Begin());
      return;
    }
    stream_ = line_->stub().PrepareCall(&context_, header.method, queue);
    stream_->StartCall(written_.Begin());
    initial_pending_ = true;
    stream_->ReadInitialMetadata(initial_.Begin());
    // Asked for from the start: the end of the call is seen at once, also while nothing is read.
    stream_->Finish(&status_, finished_.Begin());
  }

  void Write(RequestPart part) override {
    if (finish_seen_) return;
    if (!part.message) {
      stream_->WritesDone(written_.Begin());
    } else if (part.end) {
      stream_->WriteLast(ToBuffer(*part.message), grpc::WriteOptions(), written_.Begin());
    } else {
      stream_->Write(ToBuffer(*part.message), written_.Begin());
    }
  }

  void Read() override {
    if (unary_ != nullptr) return;  // all of the answer comes at once
    read_wanted_ = true;
    ReadNow();
  }

  void Cancel() override { context_.TryCancel(); }

 private:
  void ReadNow() {
    // The initial metadata is a part of its own; a message can only be read after it.
    if (!read_wanted_ || initial_pending_ || reading_ || finish_seen_) return;
    read_wanted_ = false;
    if (initial_fresh_) {
      initial_fresh_ = false;
      ResponsePart part;
      part.initial = FromGrpc(context_.GetServerInitialMetadata());
      return Deliver(std::move(part));
    }
    reading_ = true;
    stream_->Read(&buffer_, read_.Begin());
  }

  void OnWritten(bool ok) {
    if (!ok || observer_ == nullptr) return;  // the trailer follows
    std::shared_ptr<Observer> observer = observer_;
    observer->OnWritten();
  }

  void OnInitial(bool ok) {
    initial_pending_ = false;
    initial_fresh_ = ok;
    if (finish_seen_) return EndIfDone();
    ReadNow();
  }

  void OnRead(bool ok) {
    reading_ = false;
    if (ok) {
      ResponsePart part;
      part.message = FromBuffer(buffer_);
      buffer_.Clear();
      Deliver(std::move(part));
    }
    if (finish_seen_) EndIfDone();
  }

  void OnFinished(bool) {
    finish_seen_ = true;
    EndIfDone();
  }

  void EndIfDone() {
    if (initial_pending_ || reading_) return;
    ResponsePart part;
    if (unary_ != nullptr || initial_fresh_) {
      part.initial = FromGrpc(context_.GetServerInitialMetadata());
    }
    if (unary_ != nullptr && status_.ok()) part.message = FromBuffer(buffer_);
    part.trailer.emplace();
    part.trailer->code = static_cast<int>(status_.error_code());
    part.trailer->message = status_.error_message();
    part.trailer->details = status_.error_details();
    if (status_.error_code() == grpc::StatusCode::UNAVAILABLE && status_.error_details().empty() &&
        absl::StartsWith(status_.error_message(), "failed to connect to all addresses")) {
      // gRPC's own text names addresses of the inside.
      part.trailer = TrailerOf(base::Error(absl::StatusCode::kUnavailable, "SERVICE_UNREACHABLE",
                                           "the service cannot be reached at the moment"));
    }
    part.trailer->metadata = FromGrpc(context_.GetServerTrailingMetadata());
    Deliver(std::move(part));
  }

  void Deliver(ResponsePart part) {
    std::shared_ptr<Observer> observer = observer_;
    if (part.trailer) observer_ = nullptr;
    if (observer != nullptr) observer->OnResponse(std::move(part));
  }

  const std::shared_ptr<GrpcLine> line_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> unary_;
  grpc::ByteBuffer buffer_;
  grpc::Status status_;
  std::shared_ptr<Observer> observer_;
  bool initial_pending_ = false;
  bool initial_fresh_ = false;  // come, and not yet handed on
  bool read_wanted_ = false;
  bool reading_ = false;
  bool finish_seen_ = false;
  Operation<ClientCall> written_{this, &ClientCall::OnWritten};
  Operation<ClientCall> initial_{this, &ClientCall::OnInitial};
  Operation<ClientCall> read_{this, &ClientCall::OnRead};
  Operation<ClientCall> finished_{this, &ClientCall::OnFinished};
};

std::shared_ptr<OutgoingCall> GrpcRuntime::GrpcLine::NewCall() {
  return std::make_shared<ClientCall>(shared_from_this());
}

// A task from any thread; the alarm rings at once.
class GrpcRuntime::PostedTask final : public Tag {
 public:
  explicit PostedTask(std::function<void()> task) : task_(std::move(task)) {}
  void Set(grpc::CompletionQueue* queue) {
    alarm_.Set(queue, gpr_time_0(GPR_CLOCK_REALTIME), static_cast<Tag*>(this));
  }
  void Complete(bool) override {
    std::unique_ptr<PostedTask> self(this);
    task_();
  }

 private:
  std::function<void()> task_;
  grpc::Alarm alarm_;
};

class GrpcRuntime::AlarmTimer final : public Timer {
 public:
  AlarmTimer(grpc::CompletionQueue* queue, absl::Duration wait, std::function<void()> task)
      : ring_(new Ring(std::move(task))) {
    ring_->alarm.Set(queue, In(wait), static_cast<Tag*>(ring_));
  }
  ~AlarmTimer() override {
    if (ring_->rung) {
      delete ring_;
      return;
    }
    ring_->task = nullptr;
    ring_->dropped = true;
    ring_->alarm.Cancel();
  }

 private:
  struct Ring final : Tag {
    explicit Ring(std::function<void()> t) : task(std::move(t)) {}
    void Complete(bool) override {
      rung = true;
      if (dropped) {
        delete this;
        return;
      }
      // The task may destroy the timer.
      std::function<void()> now = std::move(task);
      now();
    }
    grpc::Alarm alarm;
    std::function<void()> task;
    bool rung = false;
    bool dropped = false;
  };
  Ring* const ring_;
};

GrpcRuntime::GrpcRuntime(Options options)
    : options_(std::move(options)), impl_(std::make_unique<Impl>()) {
  impl_->queue = impl_->builder.AddCompletionQueue();
}

GrpcRuntime::~GrpcRuntime() { Stop(); }

absl::Status GrpcRuntime::Start(const std::vector<grpc::Service*>& services, OnCall on_call) {
  on_call_ = std::move(on_call);
  grpc::ServerBuilder& builder = impl_->builder;
  bound_.assign(options_.ports.size(), 0);
  for (size_t i = 0; i < options_.ports.size(); ++i) {
    const Port& port = options_.ports[i];
    auto credentials =
        port.clients == Clients::kAnyone
            ? rpc::IdentityServerCredentials(options_.identity_dir, rpc::Clients::kAnyone)
            : rpc::IdentityServerCredentials(options_.identity_dir, options_.trust_domain,
                                             Accepts(port.clients, options_.site));
    builder.AddListeningPort(port.address, credentials, &bound_[i]);
  }
  builder.RegisterAsyncGenericService(&impl_->generic);
  for (grpc::Service* service : services) builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(kMaxBytes);
  builder.SetOption(std::make_unique<NoPlugins>());
  builder.SetOption(std::make_unique<grpc::HealthCheckServiceServerBuilderOption>(nullptr));
  grpc::ResourceQuota quota("relay");
  quota.Resize(static_cast<size_t>(options_.memory_mib) << 20).SetMaxThreads(16);
  builder.SetResourceQuota(quota);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 1);
  auto keepalive = static_cast<int>(absl::ToInt64Milliseconds(options_.keepalive));
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive);
  builder.AddChannelArgument(
      GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
      static_cast<int>(absl::ToInt64Milliseconds(options_.keepalive_timeout)));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, keepalive / 2);
  impl_->server = builder.BuildAndStart();
  bool bound = impl_->server != nullptr;
  for (int port : bound_) bound = bound && port != 0;
  if (!bound) {
    return base::Error(absl::StatusCode::kUnavailable, "PORT_TAKEN",
                       "the relay cannot listen at one of its addresses; is another process using "
                       "the port?");
  }
  for (int i = 0; i < kAcceptsAtOnce; ++i) Accept();
  {
    base::MutexLock lock(mutex_);
    running_ = true;
  }
  thread_ = std::thread([this] { Run(); });
  return absl::OkStatus();
}

void GrpcRuntime::Accept() { std::make_shared<ServerCall>(*this)->Request(); }

void GrpcRuntime::Run() {
  void* tag = nullptr;
  bool ok = false;
  while (impl_->queue->Next(&tag, &ok)) static_cast<Tag*>(tag)->Complete(ok);
}

std::shared_ptr<Line> GrpcRuntime::Connect(const std::string& address, const std::string& peer_path,
                                           bool across_sites) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxBytes);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (across_sites) {
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS,
                     static_cast<int>(absl::ToInt64Milliseconds(options_.keepalive)));
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                     static_cast<int>(absl::ToInt64Milliseconds(options_.keepalive_timeout)));
    arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    // HubLink makes a new line for each attempt; this one is not to dial behind its back.
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 5'000);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 10'000);
  } else {
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  }
  // One set of credentials, and so one watcher of the identity folder, per peer.
  auto& credentials = impl_->credentials[peer_path];
  if (credentials == nullptr) {
    credentials =
        rpc::IdentityChannelCredentials(options_.identity_dir, options_.trust_domain, peer_path);
  }
  return std::make_shared<GrpcLine>(*this,
                                    grpc::CreateCustomChannel(address, credentials, arguments));
}

bool GrpcRuntime::Post(std::function<void()> task) {
  base::MutexLock lock(mutex_);
  if (!running_) return false;
  // Set under the lock: the queue is shut down only after `running_` has ended.
  (new PostedTask(std::move(task)))->Set(impl_->queue.get());
  return true;
}

std::unique_ptr<Loop::Timer> GrpcRuntime::After(absl::Duration wait, std::function<void()> task) {
  base::MutexLock lock(mutex_);
  if (!running_) return std::make_unique<Timer>();
  return std::make_unique<AlarmTimer>(impl_->queue.get(), wait, std::move(task));
}

void GrpcRuntime::Born() {
  base::MutexLock lock(mutex_);
  ++alive_;
}

void GrpcRuntime::Died() {
  base::MutexLock lock(mutex_);
  if (--alive_ == 0) changed_.SignalAll();
}

void GrpcRuntime::Stop() {
  if (impl_->queue == nullptr) return;
  if (thread_.joinable()) {
    // Cancels what is left; the loop runs on, so that every call hears of its end.
    impl_->server->Shutdown(In(absl::Seconds(1)));
    {
      base::MutexLock lock(mutex_);
      while (alive_ > 0 && changed_.WaitFor(mutex_, kStopTimeout)) {
      }
      if (alive_ > 0) base::Log(base::Level::kError, "relay.calls_left", {{"calls", alive_}});
      running_ = false;
    }
    impl_->queue->Shutdown();
    thread_.join();
  } else {
    if (impl_->server != nullptr) impl_->server->Shutdown();  // a port was taken
    impl_->queue->Shutdown();
  }
  void* tag = nullptr;
  bool ok = false;
  while (impl_->queue->Next(&tag, &ok)) static_cast<Tag*>(tag)->Complete(ok);
  impl_->server = nullptr;
  impl_->queue = nullptr;
}

}  // namespace oncomesh::relay
