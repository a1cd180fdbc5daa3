"""The same agent on the official SDK of protocol 1.0, with its layer for 0.3 enabled."""

import sys

import uvicorn
from a2a.helpers import new_data_part, new_message, new_raw_part, new_task_from_user_message, new_text_message
from a2a.helpers import new_text_part, new_url_part
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCard
from a2a.utils.errors import UnsupportedOperationError
from google.protobuf.json_format import MessageToDict
from starlette.applications import Starlette


class Agent(AgentExecutor):
    async def execute(self, context, event_queue):
        command, _, rest = context.get_user_input().partition(" ")
        if command == "echo":
            await event_queue.enqueue_event(new_text_message(f"echo: {rest}", context_id=context.context_id))
            return
        if command == "parts":
            parts = [
                new_text_part("see"),
                new_data_part({"a": [1, 2.5, None]}),
                new_raw_part(b"hi", media_type="text/plain", filename="hi.txt"),
                new_url_part("https://files.example/x", media_type="image/png"),
            ]
            await event_queue.enqueue_event(new_message(parts, context_id=context.context_id))
            return
        if command == "received":
            message = context.message
            names = {"text": "text", "data": "data", "raw": "file", "url": "file"}
            kinds = ",".join(names[part.WhichOneof("content")] for part in message.parts)
            metadata = MessageToDict(message.metadata)
            summary = f"{kinds} context={message.context_id} metadata={metadata}"
            await event_queue.enqueue_event(new_text_message(summary, context_id=context.context_id))
            return
        if command == "error":
            raise UnsupportedOperationError(message="not this", data={"why": ["a", 1]})
        task = context.current_task
        if task is None:
            task = new_task_from_user_message(context.message)
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        status = updater.new_agent_message([new_text_part(f"{command} it is")])
        if command == "complete":
            await updater.add_artifact([new_text_part("the artifact"), new_data_part({"n": 7})], name="result")
            await updater.complete()
        elif command == "fail":
            await updater.failed(status)
        elif command == "reject":
            await updater.reject(status)
        elif command == "ask":
            await updater.requires_input(status)

    async def cancel(self, context, event_queue):
        raise UnsupportedOperationError()


def main(port, workspace):
    path = f"/workspaces/{workspace}/a2a"
    card = AgentCard(name="interop", version="1")
    handler = DefaultRequestHandler(Agent(), InMemoryTaskStore(), card)
    app = Starlette(routes=create_jsonrpc_routes(handler, path, enable_v0_3_compat=True))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


main(int(sys.argv[1]), sys.argv[2])
