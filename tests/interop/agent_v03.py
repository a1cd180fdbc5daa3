"""An agent on the official SDK of protocol 0.3. It does what the text of a message says."""

import sys

import uvicorn
from a2a.server.agent_execution import AgentExecutor
from a2a.server.apps import A2AStarletteApplication
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    DataPart,
    FilePart,
    FileWithBytes,
    FileWithUri,
    Part,
    TextPart,
    UnsupportedOperationError,
)
from a2a.utils import new_agent_text_message, new_task
from a2a.utils.errors import ServerError
from a2a.utils.message import new_agent_parts_message


def text(value):
    return Part(root=TextPart(text=value))


class Agent(AgentExecutor):
    async def execute(self, context, event_queue):
        command, _, rest = context.get_user_input().partition(" ")
        if command == "echo":
            await event_queue.enqueue_event(new_agent_text_message(f"echo: {rest}", context.context_id))
            return
        if command == "parts":
            parts = [
                text("see"),
                Part(root=DataPart(data={"a": [1, 2.5, None]})),
                Part(root=FilePart(file=FileWithBytes(bytes="aGk=", mime_type="text/plain", name="hi.txt"))),
                Part(root=FilePart(file=FileWithUri(uri="https://files.example/x", mime_type="image/png"))),
            ]
            await event_queue.enqueue_event(new_agent_parts_message(parts, context.context_id))
            return
        if command == "received":
            kinds = ",".join(part.root.kind for part in context.message.parts)
            summary = f"{kinds} context={context.message.context_id} metadata={context.message.metadata}"
            await event_queue.enqueue_event(new_agent_text_message(summary, context.context_id))
            return
        if command == "error":
            raise ServerError(error=UnsupportedOperationError(message="not this", data={"why": ["a", 1]}))
        task = context.current_task
        if task is None:
            task = new_task(context.message)
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        status = updater.new_agent_message([text(f"{command} it is")])
        if command == "complete":
            await updater.add_artifact([text("the artifact"), Part(root=DataPart(data={"n": 7}))], name="result")
            await updater.complete()
        elif command == "fail":
            await updater.failed(status)
        elif command == "reject":
            await updater.reject(status)
        elif command == "ask":
            await updater.requires_input(status)

    async def cancel(self, context, event_queue):
        raise ServerError(error=UnsupportedOperationError())


def main(port, workspace):
    path = f"/workspaces/{workspace}/a2a"
    card = AgentCard(
        name="interop",
        description="",
        url=f"http://127.0.0.1:{port}{path}",
        version="1",
        capabilities=AgentCapabilities(),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[],
    )
    handler = DefaultRequestHandler(Agent(), InMemoryTaskStore())
    app = A2AStarletteApplication(card, handler).build(rpc_url=path)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


main(int(sys.argv[1]), sys.argv[2])
